"""The loop that trains anything: steps, checkpoints, log, precision, seeds; no network, no scan."""
