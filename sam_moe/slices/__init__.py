"""Scans as stacks of axial slices, prepared as the card of an automatic model says."""
