"""What a user says to the model: points and boxes, in voxels or in millimetres."""

from sam_moe.prompts.prompt import Box, Item, Point, Prompt, Space

__all__ = ["Box", "Item", "Point", "Prompt", "Space"]
