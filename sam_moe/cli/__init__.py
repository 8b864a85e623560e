"""`sam-moe`: one command, its verbs; nothing heavy before a verb runs."""

from sam_moe.cli.main import main

__all__ = ["main"]
