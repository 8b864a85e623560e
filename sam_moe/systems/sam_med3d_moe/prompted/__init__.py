"""Regions asked by prompts, as all trainings of this paper do: drawn, talked about, scored."""
