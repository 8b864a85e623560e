"""Dice of the shipped weights from points, boxes and what is drawn, beside other tools."""
