"""Regions asked by prompts, as all trainings of this paper do: drawn, talked about, scored."""

# How likely a step ends after 0, 1, 2, … corrections.
DEPTHS = (0.25, 0.5, 0.15, 0.05, 0.05)
