"""Rows of scans by hand."""

from benchmarks.mixture.m4oe.scans import Seen


def seen(**changes):
    """A known CT of the neck, taken for one, at half its far."""
    plain = {
        "model": "auto",
        "sha256": "0",
        "scan": "a",
        "modality": "CT",
        "own": "neck",
        "taken": "neck",
        "distance": 1.0,
        "far": 2.0,
    }
    return Seen(**{**plain, **changes})
