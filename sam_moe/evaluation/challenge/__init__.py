"""What a challenge is: one YAML file, and the cases that it finds."""
