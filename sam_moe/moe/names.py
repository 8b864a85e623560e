"""Words that settings use, known without torch."""

from typing import Literal

# What is routed by itself: a row of a batch, a vector of a sequence, a place of an output.
Granularity = Literal["prompt", "token", "pixel"]

# What is averaged where several experts answer.
Fusion = Literal["logits", "probabilities"]

# How experts are run: the chosen ones on the rows that chose them, or all on every row.
Dispatch = Literal["grouped", "dense"]
