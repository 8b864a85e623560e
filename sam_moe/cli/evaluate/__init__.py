"""`sam-moe evaluate`, `simulate` and `compare`."""
