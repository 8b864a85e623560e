"""Systems that answer prompts as one model, one folder a paper."""
