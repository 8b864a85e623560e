"""Systems that answer prompts as one model, one file a paper."""
