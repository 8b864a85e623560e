"""Words that settings use, known without torch."""

from typing import Literal

# What is routed by itself: a row of a batch, a vector of a sequence, a place of an output.
Granularity = Literal["prompt", "token", "pixel"]

# What is averaged where several experts answer.
Fusion = Literal["logits", "probabilities"]

# How experts are run: the chosen ones on the rows that chose them, all on every row, or feed-forward experts
# side by side as one wide product.
Dispatch = Literal["grouped", "dense", "wide"]

# What weighs feed-forward experts: a gate's softmax over them, the public M4oE's softmax over channels, the
# known data set, or nothing.
Scores = Literal["expert", "channel", "forced", "uniform"]

# What a gate sees at once: a token, or the mean of a slice's or of a scan's tokens.
Pooling = Literal["token", "slice", "volume"]
