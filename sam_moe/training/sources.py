"""Labelled scans of a data folder, read once into one cache file that a bare training machine can take along.

A data folder holds sets; a set is `images/`, `labels/` and a `dataset.json` with `labels` (name: id; or per
case `label_names`, id: name) and `cases` (`id`, `image`, `label`). A splits file says which cases may be
trained on.
"""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError

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
    """Read every case of one part of the split: arrays and names, images from their minimum, as int16."""
    from sam_moe.space.files import read  # only here: training from a cache needs no image libraries

    chosen = json.loads(splits.read_text(encoding="utf-8"))["sets"]
    cases: list[dict[str, Any]] = []
    for name in sorted(chosen):
        description = folder / name / "dataset.json"
        if not description.is_file():
            raise ConfigError(
                f"{splits} names the set {name}, but there is no {description}. Mend one of the two."
            )
        dataset = json.loads(description.read_text(encoding="utf-8"))
        by_id = {c["id"]: c for c in dataset["cases"]}
        for case_id in chosen[name][part]:
            case = by_id[case_id]
            label = read(folder / name / case["label"])
            names = _label_names(dataset, case)
            present = [int(v) for v in torch.unique(label.array) if v > 0]
            structures = {v: names.get(v, f"label {v}") for v in present}
            structures = {v: n for v, n in structures.items() if not {n, f"{name}/{n}"} & leave_out}
            if not structures:
                continue
            image = None
            if "image" in case:
                scan = read(folder / name / case["image"])
                image = (scan.array.float() - scan.array.float().min()).clamp(0, 4095).to(torch.int16)
            cases.append(
                {
                    "name": case_id,
                    "set": name,
                    "image": image,
                    "label": label.array.to(torch.int16),
                    "spacing_mm": label.grid.spacing_mm,
                    "structures": structures,
                }
            )
        log.info("read %s: %d cases so far", name, len(cases))
    return cases


def _label_names(dataset: dict[str, Any], case: dict[str, Any]) -> dict[int, str]:
    """Label names by id; a case's own table goes before the set's; a description in words names nothing."""
    if isinstance(case.get("label_names"), dict):
        return {int(v): str(name) for v, name in case["label_names"].items()}
    labels = dataset.get("labels")
    return {int(v): str(name) for name, v in labels.items()} if isinstance(labels, dict) else {}


def write_cache(cases: list[dict[str, Any]], path: Path) -> None:
    """Write the cases as one safetensors file, whole or not at all."""
    tensors, table = {}, []
    for number, case in enumerate(cases):
        for kind in ("image", "label"):
            if case[kind] is not None:
                tensors[f"{number}.{kind}"] = case[kind].contiguous()
        table.append({k: case[k] for k in ("name", "set", "spacing_mm", "structures")})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata={"cases": json.dumps(table)})
    temporary.replace(path)


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
