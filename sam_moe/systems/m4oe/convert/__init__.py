"""Checkpoints of M4oE's and Swin-MAE's public code become weights with a card: `sam-moe convert`."""
