"""Where labelled cases are, for training and evaluation alike: sets of ours, and layouts of challenges."""
