"""What M4oE's experts, gates and phases are worth: variants of one recipe, and the shipped models."""
