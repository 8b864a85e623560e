"""The layers of SAM-Med3D, named as its checkpoint names things."""
