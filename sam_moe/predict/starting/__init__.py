"""Automatic first, then clicks: the labels of a map, each a target that prompts may change and undo."""
