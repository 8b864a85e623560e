"""One small file that training reads: scans in 8 bits and compressed, to be carried to a bare machine."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replacing

# Counts up when the same scans would be written otherwise.
CACHE_FORMAT = 2
_LEVELS = 256


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


def cache_path(run: Path, part: str) -> Path:
    """Where a run keeps the scans of one part of the split."""
    return run / f"{part}.safetensors"


def write_cache(cases: list[dict[str, Any]], path: Path, origin: str = "") -> None:
    """Write the cases as one safetensors file, whole or not at all; `origin` is what they were read from.

    Images, whole numbers from 0 on, keep at most 256 levels each, chosen by `eight_bits`; labels keep all.
    The same cases give the same bytes.

    Raises:
        FileError: where the file cannot be written.
    """
    tensors, table = {}, []
    for number, case in enumerate(cases):
        entry = {k: case[k] for k in ("name", "set", "spacing_mm", "structures")}
        entry["shape"] = list(case["label"].shape)
        for kind, coded in (("image", eight_bits), ("label", _as_they_are)):
            if case[kind] is not None:
                codes, values = coded(case[kind])
                packed = zlib.compress(codes.contiguous().numpy().tobytes(), 9)
                tensors[f"{number}.{kind}"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
                entry[kind] = values.tolist()
        table.append(entry)
    # All under one key: safetensors writes several in an order of chance.
    about = json.dumps({"format": CACHE_FORMAT, "origin": origin, "cases": table})
    make_folder(path.parent)
    with replacing(path, (SafetensorError,)) as new:
        save_file(tensors, new, metadata={"cache": about})


def cache_origin(path: Path) -> str | None:
    """What `write_cache` was given as the origin of the cases; None without a cache of this format."""
    about = _about(path) if path.is_file() else {}
    return str(about["origin"]) if about.get("format") == CACHE_FORMAT else None


def cached_sets(path: Path) -> tuple[str, ...]:
    """The names of the sets whose cases a cache holds."""
    return tuple(sorted({str(entry["set"]) for entry in _about(path).get("cases", ())}))


def cached_labels(path: Path) -> set[str]:
    """What the structures in a cache are called, each by its name and as 'set/name'."""
    named = [
        (str(entry["set"]), str(n))
        for entry in _about(path).get("cases", ())
        for n in entry["structures"].values()
    ]
    return {called for group, name in named for called in (name, f"{group}/{name}")}


def read_cache(path: Path) -> list[Scan]:
    """Read a cache file into memory, with its halved copies.

    Raises:
        ConfigError: for a file that is no cache, damaged, or of another format.
    """
    about, scans = _about(path), []
    if about.get("format") != CACHE_FORMAT:
        raise ConfigError(
            f"{path}: a cache of format {about.get('format', 1)}; this sam-moe reads {CACHE_FORMAT}. Delete "
            "it and start where the data is, to have it written again, or use the sam-moe that wrote it."
        )
    with safe_open(path, framework="pt") as file:
        for number, entry in enumerate(about["cases"]):
            image, label = (
                _unpacked(file.get_tensor(f"{number}.{kind}"), entry[kind], entry["shape"], path)
                if kind in entry
                else None
                for kind in ("image", "label")
            )
            spacing = tuple(entry["spacing_mm"])
            levels, spacings = _halve(image, spacing) if image is not None else ((), (spacing,))
            structures = {int(k): v for k, v in entry["structures"].items()}
            assert label is not None
            scans.append(Scan(entry["name"], entry["set"], levels, spacings, label, structures))
    return scans


def eight_bits(image: Tensor) -> tuple[Tensor, Tensor]:
    """Codes from 0 to 255 for an image of whole numbers from 0 on, and the value that each code stands for.

    Up to 256 different values are kept as they are. Of more, neighbours share a code. Where a value's share
    of the image is p, codes lie as dense as p ** (1/3), which makes the mean squared error smallest (Panter
    and Dite, Proc. IRE 39, 1951); a ninth of them is spread evenly (ours), so that rare values stay in sight.
    """
    counts = torch.bincount(image.flatten()).double()
    present = counts.nonzero()[:, 0]
    if len(present) <= _LEVELS:
        return _as_they_are(image)
    density = counts ** (1 / 3)
    density = density / density.sum() + 1 / (8 * len(counts))
    middle = density.cumsum(0) - density / 2
    cells = (middle / density.sum() * _LEVELS).long()[present]
    _, cell = cells.unique(return_inverse=True)
    weight = counts[present]
    values = torch.bincount(cell, weight * present) / torch.bincount(cell, weight)
    code = torch.zeros(len(counts), dtype=torch.uint8)
    code[present] = cell.to(torch.uint8)
    return code[image.int()], values.round().to(torch.int16)


def _as_they_are(array: Tensor) -> tuple[Tensor, Tensor]:
    values, codes = array.unique(return_inverse=True)
    return codes.to(_code_type(len(values))), values.to(torch.int16)


def _code_type(values: int) -> torch.dtype:
    return torch.uint8 if values <= _LEVELS else torch.int16


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("cache", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(
            f"{path}: not readable as a cache of scans ({' '.join(str(error).split())}). Copy it again, or "
            "delete it and start where the data is, to have it written again."
        ) from error
    return dict(about)


def _unpacked(packed: Tensor, values: list[int], shape: list[int], path: Path) -> Tensor:
    try:
        data = bytearray(zlib.decompress(packed.numpy().data))
    except zlib.error as error:
        raise ConfigError(
            f"{path}: damaged ({error}). Copy it again, or delete it and start where the data is, to have it "
            "written again."
        ) from error
    codes = torch.frombuffer(data, dtype=_code_type(len(values)))
    return torch.tensor(values, dtype=torch.int16).index_select(0, codes.int()).reshape(shape)


def _halve(
    image: Tensor, spacing: tuple[float, ...], coarsest_mm: float = 4.0
) -> tuple[tuple[Tensor, ...], tuple[tuple[float, ...], ...]]:
    """The image and its averages over ever larger blocks; a block that sticks out repeats the last voxel."""
    levels, spacings = [image], [spacing]
    while min(spacings[-1]) < coarsest_mm:
        shape = levels[-1].shape
        factor = [2 if s < coarsest_mm and n > 3 else 1 for s, n in zip(spacings[-1], shape, strict=True)]
        if factor == [1, 1, 1]:
            break
        beyond = [pad for n, f in zip(reversed(shape), reversed(factor), strict=True) for pad in (0, n % f)]
        whole = F.pad(levels[-1][None, None].float(), beyond, mode="replicate")
        levels.append(F.avg_pool3d(whole, factor)[0, 0].round().to(torch.int16))
        spacings.append(tuple(s * f for s, f in zip(spacings[-1], factor, strict=True)))
    return tuple(levels), tuple(spacings)
