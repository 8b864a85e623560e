"""Checkpoints in, frozen models out: safe reading, a readable report of what does not fit, atomic writing."""

from sam_moe.hosts.sam3d.loading import build_model, check_state, fingerprint, load_model, read_sizes
from sam_moe.weights.files import read_metadata, read_state, save_weights, sha256_of, write_weights
from sam_moe.weights.report import KeyReport, Misfit, compare

__all__ = [
    "KeyReport",
    "Misfit",
    "build_model",
    "check_state",
    "compare",
    "fingerprint",
    "load_model",
    "read_metadata",
    "read_sizes",
    "read_state",
    "save_weights",
    "sha256_of",
    "write_weights",
]
