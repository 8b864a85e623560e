"""What a challenge is: its cases, protocols and scores, read from YAML."""
