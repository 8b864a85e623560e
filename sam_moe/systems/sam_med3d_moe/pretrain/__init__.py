"""Training the general model."""
