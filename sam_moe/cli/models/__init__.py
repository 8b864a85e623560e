"""`sam-moe checkpoints`, `sam-moe experts` and `sam-moe gates`: what is here, added, removed."""
