"""Growing a gate: a column for one more expert, fitted on a few cases; the others keep every bit."""
