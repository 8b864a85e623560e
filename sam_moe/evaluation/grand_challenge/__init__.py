"""Containers for grand-challenge.org: ours as an algorithm, ours as a judge, and their rehearsal."""
