"""Challenges over the test cases, with the systems that were evaluated and the committed results."""
