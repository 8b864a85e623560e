"""What recipes share: groups of settings, preparation, the card that a training leaves."""
