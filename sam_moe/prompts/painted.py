"""Painted voxels turned into strokes and loops: what a viewer's brush or lasso leaves in a mask.

Viewers send scribbles and lassos as the voxels that they cover. All of this is ours.
"""

from typing import Any

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import Triple, floats
from sam_moe.prompts.drawn import Loop, Stroke
from sam_moe.shapes import Bool, Float, Int, Shaped

Mask = Bool[np.ndarray, "_ _ _"]

_MOST_VOXELS = 20_000  # of a painted stroke whose way is looked for; of a larger one the deepest


def strokes_of(painted: Mask, positive: bool = True, first: Triple = (0.0, 0.0, 0.0)) -> tuple[Stroke, ...]:
    """A stroke for each connected part of what a brush painted, the largest first.

    Each runs along the middle of its part, from one end to the other. `first` is the voxel of the scan that
    the first voxel of `painted` is, where that is cut out of a larger volume.

    Raises:
        PromptError: where nothing is painted.
    """
    found = []
    for part, corner in _parts(painted):
        path = _longest_way(part) + corner + np.array(first)
        found.append(Stroke(tuple(floats(place) for place in path), positive))
    return tuple(found)


def loops_of(painted: Mask, positive: bool = True, first: Triple = (0.0, 0.0, 0.0)) -> tuple[Loop, ...]:
    """A loop around each connected part of what a lasso filled on a slice, the largest first; holes are lost.

    The slice lies along the axis on which `painted` has one plane; `first` as in `strokes_of`.

    Raises:
        PromptError: where nothing is painted, or more than one plane of every axis.
    """
    found = []
    for part, corner in _parts(painted):
        flat = [axis for axis in range(3) if part.shape[axis] == 1]
        if not flat:
            raise PromptError(
                f"a lasso fills {part.shape} voxels, several slices on each axis. Expected one slice; give a "
                "loop for each slice, or a box."
            )
        axis = flat[-1]
        curve = outline(part.take(0, axis))
        places = np.insert(curve, axis, 0.0, axis=1) + corner + np.array(first)
        found.append(Loop(tuple(floats(place) for place in places), positive))
    return tuple(found)


def outline(filled: Bool[np.ndarray, "_ _"]) -> Float[np.ndarray, "n 2"]:
    """The outer curve around the pixels of one connected part, along their edges; corners only.

    Pixels have their centres at whole numbers. Where pixels touch at a corner the curve goes through it.
    """
    padded = np.pad(filled, 1)
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Every edge between inside and outside, walked with the inside on one's left
    for step, (start, stop) in _EDGES.items():
        beyond = np.roll(padded, (-step[0], -step[1]), axis=(0, 1))
        for x, y in np.argwhere(padded & ~beyond).tolist():
            ways.setdefault((x + start[0], y + start[1]), []).append((x + stop[0], y + stop[1]))
    curves = []
    while ways:
        place = first = next(iter(ways))
        curve: list[tuple[int, int]] = []
        while place != first or not curve:
            curve.append(place)
            following = ways[place].pop()
            if not ways[place]:
                del ways[place]
            place = following
        curves.append(np.array(curve))
    longest = max(curves, key=lambda curve: float(np.ptp(curve, axis=0).sum()))
    turns = (longest - np.roll(longest, 1, axis=0) != np.roll(longest, -1, axis=0) - longest).any(axis=1)
    return np.asarray(longest[turns] - 1.5)  # of the padding one, and half a voxel to a pixel's corner


Step = tuple[int, int]
_EDGES: dict[Step, tuple[Step, Step]] = {
    (1, 0): ((1, 0), (1, 1)),
    (0, 1): ((1, 1), (0, 1)),
    (-1, 0): ((0, 1), (0, 0)),
    (0, -1): ((0, 0), (1, 0)),
}


def _parts(painted: Mask) -> list[tuple[Mask, Int[np.ndarray, " 3"]]]:
    """The connected parts, the largest first, each cut to its voxels, with where it begins."""
    from scipy import ndimage

    labels, count = ndimage.label(painted, structure=np.ones((3, 3, 3)))
    if not count:
        raise PromptError("nothing is painted: the mask is empty. Expected the voxels of a brush or a lasso.")
    sizes = np.bincount(labels.ravel())[1:]
    cuts = ndimage.find_objects(labels)
    order = np.argsort(-sizes, kind="stable").tolist()
    return [(np.asarray(labels[cuts[n]] == n + 1), np.array([side.start for side in cuts[n]])) for n in order]


def _longest_way(part: Mask) -> Float[np.ndarray, "n 3"]:
    """The way between the two ends of a part that lie farthest apart in it, through its middle."""
    from scipy import ndimage, sparse, spatial

    margin = [int(size > 1) for size in part.shape]  # beyond a single slice nothing was painted, in or out
    depth = ndimage.distance_transform_edt(np.pad(part, [(one, one) for one in margin]))
    depth = depth[tuple(slice(one, one + size) for one, size in zip(margin, part.shape, strict=True))]
    places = np.argwhere(part)
    if len(places) > _MOST_VOXELS:
        places = places[depth[part] >= np.sort(depth[part])[-_MOST_VOXELS]]
    if len(places) == 1:
        return places.astype(np.float64)
    pairs = spatial.cKDTree(places).query_pairs(1.8, output_type="ndarray")
    apart = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    deep = depth[tuple(places.T)]
    cost = apart / (deep[pairs[:, 0]] + deep[pairs[:, 1]]) ** 2
    graph = sparse.csr_matrix((cost, (pairs[:, 0], pairs[:, 1])), shape=(len(places),) * 2)
    one, _ = _farthest(graph, 0)
    other, before = _farthest(graph, one)
    way = [other]
    while way[-1] != one:
        way.append(int(before[way[-1]]))
    return places[way].astype(np.float64)


def _farthest(graph: Any, start: int) -> tuple[int, Shaped[np.ndarray, " n"]]:
    """The place farthest from a start that can be reached, and of each place the one before it."""
    from scipy.sparse import csgraph

    length, before = csgraph.dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    return int(np.where(np.isfinite(length), length, -1.0).argmax()), before
