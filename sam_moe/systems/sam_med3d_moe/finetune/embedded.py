"""Regions encoded once by a frozen encoder and kept in one file: experts learn from them many times over."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replacing
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.progress import Progress, silent
from sam_moe.shapes import Bool, UInt8

# Counts up when the same regions would be drawn, encoded or written otherwise.
EMBEDDED_FORMAT = 1
_BATCH = 8
_LOG_EVERY_S = 10.0

log = logging.getLogger(__name__)


class Embedded(Dataset[dict[str, Tensor]]):
    """An endless, repeatable stream of embedded regions, drawn from a file: number n is always the same.

    `embedding` is in float32, `target` what was to be found, both as `ExpertLoss` takes them.
    """

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.seed = seed
        about = _about(path)
        if about.get("format") != EMBEDDED_FORMAT:
            raise ConfigError(
                f"{path}: holds no embedded regions of format {EMBEDDED_FORMAT}. Delete it; it is made again."
            )
        self.count, self.shape = int(about["count"]), tuple(about["target"])
        with safe_open(path, framework="pt") as file:  # mapped, not read
            self.embeddings, self.bits = file.get_tensor("embedding"), file.get_tensor("target")

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return self.region(int(torch.randint(self.count, (), generator=rng)))

    def region(self, index: int) -> dict[str, Tensor]:
        """One of the regions in the file, by its place there."""
        return {
            "embedding": self.embeddings[index].float(),
            "target": unpack(self.bits[index], self.shape),
        }

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every region once, in the order of the file."""
        for start in range(0, self.count, size):
            batch = default_collate(
                [self.region(index) for index in range(start, min(start + size, self.count))]
            )
            yield batch["embedding"], batch["target"]


def embedded_path(run: Path, part: str) -> Path:
    """Where a run keeps the embedded regions of one part of the split."""
    return run / f"{part}.embedded.safetensors"


def keep_embedded(
    regions: Callable[[], Dataset[dict[str, Tensor]]],
    count: int,
    model: SamMed3D,
    path: Path,
    origin: str,
    progress: Progress = silent,
) -> None:
    """Encode the first `count` regions into a file, whole or not at all, unless one of this origin is there.

    `origin` is all that the regions depend on: the encoder's fingerprint, the scans, the seed. Embeddings are
    rounded to float16, targets packed to bits. One process of a run does this, the others wait for it.

    Raises:
        ConfigError: for an embedding beyond float16.
    """
    if origin_of(path) == (origin, count):
        return
    began = logged = time.monotonic()
    device = next(model.parameters()).device
    stream = regions()
    embeddings: Tensor | None = None
    for start in range(0, count, _BATCH):
        batch = default_collate([stream[number] for number in range(start, min(start + _BATCH, count))])
        with torch.no_grad():
            embedding = model.encode(batch["image"].to(device)).half().cpu()
        if not torch.isfinite(embedding).all():
            raise ConfigError(
                f"{path}: an embedding does not fit into float16. Is the base's encoder a trained one?"
            )
        packed = pack(batch["target"])
        if embeddings is None:
            embeddings = embedding.new_empty(count, *embedding.shape[1:])
            bits = packed.new_empty(count, packed.shape[1])
            shape = list(batch["target"].shape[1:])
        embeddings[start : start + len(embedding)], bits[start : start + len(packed)] = embedding, packed
        done = start + len(embedding)
        progress("embedding regions", done / count)
        if (now := time.monotonic()) - logged > _LOG_EVERY_S or done == count:
            log.info("embedded %d of %d regions, %.1f a second", done, count, done / (now - began))
            logged = now
    assert embeddings is not None
    seconds = round(time.monotonic() - began, 2)
    about = {"format": EMBEDDED_FORMAT, "origin": origin, "count": count, "target": shape, "seconds": seconds}
    make_folder(path.parent)
    with replacing(path, (SafetensorError,)) as new:
        save_file({"embedding": embeddings, "target": bits}, new, metadata={"embedded": json.dumps(about)})


def embedding_hours(path: Path) -> float:
    """How long it took to encode what a file holds."""
    return float(_about(path)["seconds"]) / 3600


def pack(target: Bool[Tensor, "b t s s s"]) -> UInt8[Tensor, "b bytes"]:
    """Eight voxels a byte."""
    return torch.from_numpy(np.packbits(target.flatten(1).numpy(), axis=1))


def unpack(bits: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Bool[Tensor, "t s s s"]:
    """The targets of one region again."""
    voxels = np.unpackbits(bits.numpy(), count=int(np.prod(shape))).astype(bool)
    return torch.from_numpy(voxels).view(shape)


def origin_of(path: Path) -> tuple[str, int] | None:
    """What a whole file was made from, and its regions; None of one that is damaged or is not there."""
    try:
        about = _about(path) if path.is_file() else {}
    except ConfigError as error:
        log.warning("embedding again: %s", error)
        return None
    return (about["origin"], about["count"]) if about.get("format") == EMBEDDED_FORMAT else None


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("embedded", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: not readable as embedded regions ({reason}). Delete it; it is made again."
        ) from error
    return dict(about)
