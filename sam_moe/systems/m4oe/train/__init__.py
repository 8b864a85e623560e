"""Training an automatic model phase by phase, from its recipe to weights with their card."""
