"""Pictures of scans, masks and prompts on three planes."""
