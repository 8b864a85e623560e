"""A promptable network that answers what is bright, so that every mask and every piece is known by hand."""

import numpy as np
import torch

from sam_moe.predict.model import Model
from sam_moe.predict.prediction import LabelMap
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SHAPE = (24, 24, 24)
GRID = Grid.around((0, 0, 0), SHAPE, (1.5, 1.5, 1.5))
# Blocks of voxels, [start, stop) along each axis. Edges of odd length: their middles are voxels' centres.
CORE = ((8, 13), (8, 13), (8, 13))  # bright, and in the mask of "core"
EXTRA = ((8, 13), (13, 15), (8, 13))  # in its mask, not bright
MISSING = ((13, 15), (8, 13), (8, 13))  # bright, not in its mask
NUCLEUS = ((17, 20), (17, 20), (17, 20))  # bright, and within the mask of "shell"
SHELL = ((16, 21), (16, 21), (16, 21))
CRUMB = ((1, 2), (1, 2), (1, 2))  # a part of the mask of "shell" far from it


class Bright:
    """Answers all that is brighter than one half, whatever is asked; counts its answers.

    It keeps `Promptable`. With `broken` it fails, as where memory ends.
    """

    box_strategy, embedding_key, outside = "none", "bright", 0.0

    def __init__(self):
        self.answers, self.broken = 0, False

    def embed(self, image, dtype=None):
        return image

    def route(self, embedding, points, labels, boxes):
        return None

    def answer(self, embedding, points, labels, boxes, previous=None, routing=None):
        if self.broken:
            raise MemoryError
        self.answers += 1
        return 20 * (embedding - 0.5), None


def block(*blocks, shape=SHAPE):
    """A mask of blocks."""
    mask = torch.zeros(shape, dtype=torch.bool)
    for edges in blocks:
        mask[tuple(slice(*edge) for edge in edges)] = True
    return mask


def scan_of(grid=GRID):
    return Volume(block(CORE, MISSING, NUCLEUS).float(), grid)


def map_of(grid=GRID):
    """The automatic answer: one label too long and too short, one too thick, and one that is not found."""
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[block(CORE, EXTRA)] = 1
    labels[block(SHELL, CRUMB)] = 2
    return LabelMap(labels, grid, {1: "core", 2: "shell", 4: "lost"})


def bright_model(network=None, history_bytes=2**20):
    """The network at the spacing of its scans, in regions as large as they are."""
    card = Preprocessing(region_voxels=32, spacing_mm=1.5, normalisation="positive", zoom_min=1, zoom_max=1)
    return Model(network or Bright(), card, "bright", whole_targets=False, history_bytes=history_bytes)


def turned(degrees=20.0):
    """The same voxels in a scan that lies obliquely."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = GRID.affine.copy()
    affine[:3, :3] = affine[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1, 1, -1])
    return Grid(affine, SHAPE)
