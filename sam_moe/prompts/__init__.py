"""What a user gives the model for a target: points, boxes, strokes and loops, in voxels or in millimetres."""

from sam_moe.prompts.prompt import Box, Item, Loop, Point, Prompt, Space, Stroke

__all__ = ["Box", "Item", "Loop", "Point", "Prompt", "Space", "Stroke"]
