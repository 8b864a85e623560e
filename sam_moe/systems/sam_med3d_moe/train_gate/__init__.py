"""Training the gate on a table of prompts, and growing it by an expert."""
