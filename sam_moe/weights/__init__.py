"""Checkpoints of any network: safe reading, atomic writing, checksums, a report of what does not fit."""
