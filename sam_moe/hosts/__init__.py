"""Frozen networks that mixtures are built on, one room each; strangers to each other."""
