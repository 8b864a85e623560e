"""Voxels and millimetres: grids, volumes on them, and the files they live in."""
