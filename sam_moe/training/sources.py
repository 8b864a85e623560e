"""Labelled scans of a data folder, read once into one cache file that a bare training machine can take along.

A data folder holds sets; a set is `images/`, `labels/` and a `dataset.json` with `labels` (name: id; or per
case `label_names`, id: name) and `cases` (`id`, `image`, `label`). A splits file says which cases may be
trained on.
"""

import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.space.grid import Grid, same_grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """One scan to learn from, axes in RAS order; halved copies serve coarse regions without aliasing.

    `levels[n]` is the scan averaged over blocks of 2**n voxels and `spacings_mm[n]` its spacing; an axis
    coarser than 4 mm is not averaged further. `image` values count from the scan's minimum. Without an
    image (`levels` empty) it is a label map to synthesise images from.
    """

    name: str
    group: str
    levels: tuple[Tensor, ...]
    spacings_mm: tuple[tuple[float, ...], ...]
    labels: Tensor
    structures: dict[int, str]

    @cached_property
    def voxels(self) -> dict[int, Tensor]:
        """The indices (n, 3) of each structure's voxels, as int16."""
        return {v: (self.labels == v).nonzero().to(torch.int16) for v in self.structures}


def read_folder(
    folder: Path, splits: Path, part: str = "train", leave_out: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Read every case of one part of the split: arrays and names, axes in RAS order, images as int16.

    Intensities count from the image's minimum; floats that span little are stretched first, as a region's
    scale is normalised away. `leave_out` names structures by name or as 'set/name'.

    Raises:
        ConfigError: for a splits file or data folder that do not belong together.
    """
    from sam_moe.space.files import read  # only here: a cache needs no image libraries

    chosen = _entry(_json(splits), "sets", splits)
    cases: list[dict[str, Any]] = []
    unseen = set(leave_out)
    for name in sorted(chosen):
        description = folder / name / "dataset.json"
        if not description.is_file():
            raise ConfigError(
                f"{splits} names the set {name}, but there is no {description}. Mend one of the two."
            )
        dataset = _json(description)
        empty: list[str] = []
        by_id = {c["id"]: c for c in _entry(dataset, "cases", description)}
        for case_id in _entry(chosen[name], part, splits):
            if case_id not in by_id:
                raise ConfigError(
                    f"{splits} names the case {case_id} of the set {name}, but {description} has none with "
                    "this id. Mend one of the two."
                )
            case = by_id[case_id]
            label = read(folder / name / case["label"])
            labels = canonical(label)
            names = _label_names(dataset, case)
            present = [int(v) for v in torch.unique(labels.array) if v > 0]
            structures = {v: names.get(v, f"label {v}") for v in present}
            left = {v for v, n in structures.items() if {n, f"{name}/{n}"} & leave_out}
            unseen -= {n for v in left for n in (structures[v], f"{name}/{structures[v]}")}
            structures = {v: n for v, n in structures.items() if v not in left}
            if not structures:
                empty.append(case_id)
                continue
            image = None
            if "image" in case:
                scan = read(folder / name / case["image"])
                same_grid(scan.grid, label.grid)
                image = _whole_numbers(canonical(scan).array)
            cases.append(
                {
                    "name": case_id,
                    "set": name,
                    "image": image,
                    "label": labels.array.to(torch.int16),
                    "spacing_mm": labels.grid.spacing_mm,
                    "structures": structures,
                }
            )
        log.info("read %s: %d cases so far", name, len(cases))
        if empty:
            log.info("nothing to learn from in %s of %s", ", ".join(empty), name)
    if unseen:  # perhaps misspelt; the smaller parts need not hold every structure
        level = logging.WARNING if part == "train" else logging.INFO
        log.log(level, "left out, but not met in the %s part: %s", part, ", ".join(sorted(unseen)))
    return cases


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


def _whole_numbers(array: Tensor) -> Tensor:
    """Intensities from the minimum on, as int16; floats that span less than 256 are stretched to 4095."""
    low, high = array.float().min(), array.float().max()
    counted = array.float() - low
    if array.is_floating_point() and 0 < high - low < 256:
        counted = counted * (4095 / (high - low))
    return counted.clamp(0, 4095).to(torch.int16)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}. Give the path of a JSON file.") from error


def _entry(table: Any, key: str, path: Path) -> Any:
    if not isinstance(table, dict) or key not in table:
        known = ", ".join(map(str, table)) if isinstance(table, dict) else type(table).__name__
        raise ConfigError(f"{path}: expected an entry {key!r}, found: {known}. Add it.")
    return table[key]


def _label_names(dataset: dict[str, Any], case: dict[str, Any]) -> dict[int, str]:
    """Label names by id; a case's own table goes before the set's; a description in words names nothing."""
    if isinstance(case.get("label_names"), dict):
        return {int(v): str(name) for v, name in case["label_names"].items()}
    labels = dataset.get("labels")
    return {int(v): str(name) for name, v in labels.items()} if isinstance(labels, dict) else {}


def write_cache(cases: list[dict[str, Any]], path: Path, origin: str = "") -> None:
    """Write the cases as one safetensors file, whole or not at all; `origin` is what they were read from."""
    tensors, table = {}, []
    for number, case in enumerate(cases):
        for kind in ("image", "label"):
            if case[kind] is not None:
                tensors[f"{number}.{kind}"] = case[kind].contiguous()
        table.append({k: case[k] for k in ("name", "set", "spacing_mm", "structures")})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may write at once
    try:
        save_file(tensors, temporary, metadata={"cases": json.dumps(table), "origin": origin})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_origin(path: Path) -> str | None:
    """What `write_cache` was told that the cases were read from, or None where there is no cache."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        return str((file.metadata() or {}).get("origin", ""))


def read_cache(path: Path) -> list[Scan]:
    """Read a cache file into memory, with its halved copies."""
    scans = []
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
        for number, entry in enumerate(json.loads(file.metadata()["cases"])):
            image = file.get_tensor(f"{number}.image") if f"{number}.image" in keys else None
            levels, spacings = (
                _halve(image, tuple(entry["spacing_mm"]))
                if image is not None
                else ((), (tuple(entry["spacing_mm"]),))
            )
            structures = {int(k): v for k, v in entry["structures"].items()}
            label = file.get_tensor(f"{number}.label")
            scans.append(Scan(entry["name"], entry["set"], levels, spacings, label, structures))
    return scans


def _halve(
    image: Tensor, spacing: tuple[float, ...], coarsest_mm: float = 4.0
) -> tuple[tuple[Tensor, ...], tuple[tuple[float, ...], ...]]:
    levels, spacings = [image], [spacing]
    while min(spacings[-1]) < coarsest_mm:
        factor = [
            2 if s < coarsest_mm and n > 3 else 1 for s, n in zip(spacings[-1], levels[-1].shape, strict=True)
        ]
        if factor == [1, 1, 1]:
            break
        pooled = F.avg_pool3d(levels[-1][None].float(), factor, factor, ceil_mode=False)[0]
        levels.append(pooled.to(torch.int16))
        spacings.append(tuple(s * f for s, f in zip(spacings[-1], factor, strict=True)))
    return tuple(levels), tuple(spacings)
