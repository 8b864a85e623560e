"""Labelled scans of a data folder (`cases/splits.py`), cut and coarsened to what is trained on.

`cache.py` keeps them.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam_moe.cases.dataset import LabelledCase
from sam_moe.cases.splits import cases_of_part
from sam_moe.shapes import Float
from sam_moe.space.grid import Grid, same_grid
from sam_moe.space.volume import Volume
from sam_moe.training.scans.merging import merged_labels

Spacing = tuple[float, float, float]

log = logging.getLogger(__name__)


# No region around a click reaches farther: half of 64 voxels of the coarsest that crops.CropRanges has there.
MARGIN_MM = 144.0
# Finer detail is seen by no region worth learning from at this size, and is averaged away.
FINEST_MM = 1.5


def read_folder(
    folder: Path,
    splits: Path,
    part: str = "train",
    leave_out: frozenset[str] = frozenset(),
    learn: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Read every case of one part of the split: arrays and names, axes in RAS order, images as int16.

    What lies farther than `MARGIN_MM` from all that is learnt is cut off, and what is finer than `FINEST_MM`
    is averaged. Intensities count from the whole image's minimum; where int16 would not hold them they are
    stretched or squeezed, as a region's scale is normalised away. `leave_out` names structures by name or as
    'set/name'. With `learn` all others are left out, and each of its structures is the union of the labels
    named for it.

    Raises:
        ConfigError: for a splits file or data folder that do not belong together, or a label that `learn`
            gives to two structures.
    """
    cases: list[dict[str, Any]] = []
    unseen = {"left out": set(leave_out)}
    if learn is not None:
        unseen["to be learnt"] = {label for labels in learn.values() for label in labels}
    for name, group in groupby(cases_of_part(folder, splits, part), key=lambda listed: listed[0]):
        empty: list[str] = []
        for _, case in group:
            found = read_case(case, name, leave_out, learn, unseen.values())
            if found is None:
                empty.append(case.id)
            else:
                cases.append(found)
        log.info("read %s: %d cases so far", name, len(cases))
        if empty:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            log.info("nothing to learn from in %s%s of %s", ", ".join(empty[:5]), more, name)
    level = logging.WARNING if part == "train" else logging.INFO
    for labels in (learn or {}).values():
        if (
            set(labels) <= unseen["to be learnt"]
        ):  # nothing at all of a structure: an error, of who asks for it
            unseen["to be learnt"] -= set(labels)
    for what, missed in unseen.items():
        if missed:  # perhaps misspelt; the smaller parts need not hold every structure
            log.log(level, "%s, but not met in the %s part: %s", what, part, ", ".join(sorted(missed)))
    return cases


def read_case(
    case: LabelledCase,
    group: str,
    leave_out: frozenset[str] = frozenset(),
    learn: Mapping[str, Sequence[str]] | None = None,
    unseen: Iterable[set[str]] = (),
) -> dict[str, Any] | None:
    """Read one case of the set `group` as `read_folder` does; None where nothing of it is to be learnt.

    The names that it meets are taken out of the sets of `unseen`.
    """
    from sam_moe.space.files import read, read_label_map  # only here: a cache needs no image libraries

    label = read_label_map(case.label)
    labels = canonical(label)
    structures = {v: case.name_of(v) for v in map(int, torch.unique(labels.array)) if v > 0}
    for missed in unseen:
        missed -= {called for n in structures.values() for called in (n, f"{group}/{n}")}
    structures = {v: n for v, n in structures.items() if not {n, f"{group}/{n}"} & leave_out}
    numbers = labels.array.to(torch.int16)
    if learn is not None:
        numbers, structures = merged_labels(numbers, structures, group, learn)
        structures = dict(sorted(structures.items()))
    if not structures:
        return None
    image = None
    if case.image is not None:
        scan = read(case.image)
        same_grid(scan.grid, label.grid)
        image = _whole_numbers(canonical(scan).array)
    image, numbers, spacing = learnt_from(image, numbers, labels.grid.spacing_mm, structures)
    return {
        "name": case.id,
        "set": group,
        "image": image,
        "label": numbers,
        "spacing_mm": spacing,
        "structures": structures,
    }


def canonical(volume: Volume) -> Volume:
    """The same voxels with axes permuted and flipped to RAS order; not resampled."""
    codes = volume.grid.axcodes
    if codes == "RAS":
        return volume
    order = [next(n for n, code in enumerate(codes) if code in pair) for pair in ("RL", "AP", "SI")]
    flipped = [axis for axis, n in enumerate(order) if codes[n] not in "RAS"]
    array = volume.array.permute(order).flip(flipped).contiguous()
    turn = np.zeros((4, 4))  # takes indices of the new array to those of the old one
    turn[3, 3] = 1
    for axis, n in enumerate(order):
        turn[n, axis] = -1 if axis in flipped else 1
        turn[n, 3] = array.shape[axis] - 1 if axis in flipped else 0
    i, j, k = array.shape
    return Volume(array, Grid(volume.grid.affine @ turn, (i, j, k)))


def learnt_from(
    image: Tensor | None, label: Tensor, spacing_mm: Spacing, structures: Collection[int]
) -> tuple[Tensor | None, Tensor, Spacing]:
    """The part of a case that regions around its structures can show, averaged to `FINEST_MM` or coarser."""
    found = torch.isin(label, torch.tensor(sorted(structures), dtype=label.dtype)).nonzero()
    part = []
    for low, high, n, s in zip(found.amin(0), found.amax(0), label.shape, spacing_mm, strict=True):
        margin = ceil(MARGIN_MM / s)
        part.append(slice(max(0, int(low) - margin), min(n, int(high) + 1 + margin)))
    label = label[tuple(part)]
    image = image[tuple(part)] if image is not None else None
    blocks = [_blocks(n, s) for n, s in zip(label.shape, spacing_mm, strict=True)]
    if all(len(b) == b.shape[1] for b in blocks):
        return image, label, spacing_mm
    x, y, z = (s * b.shape[1] / len(b) for s, b in zip(spacing_mm, blocks, strict=True))
    image = _averaged(image.float(), blocks).round().to(torch.int16) if image is not None else None
    return image, _majority(label, blocks), (x, y, z)


def _blocks(voxels: int, spacing_mm: float) -> Float[Tensor, "m n"]:
    """Shares of an axis's voxels in fewer ones of `FINEST_MM` or slightly more, over the same length."""
    fine = spacing_mm < 0.999 * FINEST_MM
    fewer = max(1, int(voxels * spacing_mm / FINEST_MM + 1e-6)) if fine else voxels
    edges = torch.arange(fewer + 1, dtype=torch.float64) * voxels / fewer
    at = torch.arange(voxels)
    overlap = torch.minimum(edges[1:, None], at + 1) - torch.maximum(edges[:-1, None], at)
    return (overlap.clamp(min=0) * fewer / voxels).float()


def _averaged(array: Tensor, blocks: list[Tensor]) -> Tensor:
    for axis, share in enumerate(blocks):
        array = torch.tensordot(share, array.movedim(axis, 0), dims=1).movedim(0, axis)
    return array


def _majority(label: Tensor, blocks: list[Tensor]) -> Tensor:
    """The label that fills most of each block; the background, then the lower one, where two fill as much."""
    best = _averaged((label == 0).float(), blocks)
    winner = torch.zeros(best.shape, dtype=label.dtype)
    for value in label.unique().tolist():
        if value == 0:
            continue
        found = (label == value).nonzero()  # only its box is looked at
        fine = [slice(int(a), int(b) + 1) for a, b in zip(found.amin(0), found.amax(0), strict=True)]
        touched = [s[:, f].any(dim=1).nonzero()[:, 0] for s, f in zip(blocks, fine, strict=True)]
        coarse = tuple(slice(int(t[0]), int(t[-1]) + 1) for t in touched)
        shares = [s[c, f] for s, c, f in zip(blocks, coarse, fine, strict=True)]
        share = _averaged((label[tuple(fine)] == value).float(), shares)
        winner[coarse][share > best[coarse] + 1e-5] = value
        best[coarse] = torch.maximum(best[coarse], share)
    return winner


def _whole_numbers(array: Tensor) -> Tensor:
    """Intensities from the minimum on, as int16.

    Floats that span less than 256 are stretched to 4095, what spans more than 32767 is squeezed to that.
    """
    counted = array.float() - array.min().float()
    span = float(counted.max())
    if array.is_floating_point() and 0 < span < 256:
        counted *= 4095 / span
    elif span > 32767:
        counted *= 32767 / span
    return counted.to(torch.int16)
