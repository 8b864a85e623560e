"""Training an expert on regions that were encoded once."""
