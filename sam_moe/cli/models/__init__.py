"""`sam-moe checkpoints` and `sam-moe experts`: what is here, added, removed."""
