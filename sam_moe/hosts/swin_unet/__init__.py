"""The Swin U-Net of M4oE's public code, named as its checkpoints name things."""
