"""A 2-D convolutional U-Net of MONAI's blocks with places for feed-forward experts (ours)."""
