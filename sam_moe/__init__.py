"""Promptable 3D medical image segmentation: one frozen model, many experts."""

__version__ = "0.1.0"
