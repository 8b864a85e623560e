"""A scan to a label map without a prompt: the set it is like, its structures, the experts behind them."""
