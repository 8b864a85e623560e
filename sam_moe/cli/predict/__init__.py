"""`sam-moe predict`: prompts as typed, the model, one scan or many."""
