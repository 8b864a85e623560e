"""Systems under test are given prompts, case by case; every answer becomes a row."""
