"""A mask takes an older one's place with all that describes it, and no such file describes another mask.

First a record that a run has begun, which describes no mask, takes the manifest's place. Then the names and
the picture that this run will write again go (a picture of another name stays), the mask is replaced, and
its own names, its picture and last its manifest are written. So whatever is killed when, manifest, names and
picture are those of the mask beside them, or are not there.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sam_moe.config import write_json
from sam_moe.files import replace_bytes, withdraw
from sam_moe.ownership import sha256_or_none
from sam_moe.pictures.scene import Scene
from sam_moe.predict.files.manifest import AutomaticRecord, Begun, Manifest, TargetRecord, now
from sam_moe.predict.files.outputs import Outputs
from sam_moe.prompts.promptset import PromptSet
from sam_moe.shapes import UInt8
from sam_moe.space.files import labels_text, write_mask
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


@dataclass(frozen=True)
class Findings:
    """What an answer adds to a manifest: targets and their prompts, or what was found without any."""

    targets: tuple[TargetRecord, ...] = ()
    prompts: PromptSet | None = None
    automatic: AutomaticRecord | None = None


@runtime_checkable
class ScanAnswer(Protocol):
    """What was found in one scan, as it is written and shown; `str` gives it for a person."""

    @property
    def mask(self) -> UInt8[Tensor, "i j k"]:
        """The values on the scan's grid."""

    @property
    def names(self) -> dict[int, str] | None:
        """The names of the mask's values; None where it has none."""

    def findings(self) -> Findings:
        """Its part of the manifest."""

    def scene(self, scan: Volume) -> Scene:
        """What a picture shows of it."""

    def remarks(self) -> Iterable[str]:
        """What a person should be warned of."""

    def brief(self) -> str:
        """One line, where many scans are answered."""

    def explain(self) -> str:
        """The experts behind it, and why these, in several lines."""


@dataclass(frozen=True)
class Written:
    """The answer to one scan, its manifest, and the files they were written to."""

    answer: ScanAnswer
    manifest: Manifest
    files: dict[str, str]

    def __str__(self) -> str:
        return str(self.answer)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        automatic = self.manifest.automatic is not None
        kept = {"scan", "model", "seconds", "automatic" if automatic else "targets"}
        return {"files": self.files, **self.manifest.model_dump(mode="json", include=kept)}


def put_down(
    outputs: Outputs,
    mask: UInt8[Tensor, "i j k"],
    grid: Grid,
    names: dict[int, str] | None,
    manifest: Manifest,
    drawn: bytes | None = None,
    before: tuple[str, ...] = (),
) -> Manifest:
    """Write a mask, its names, its picture and its manifest; returns the manifest with their checksums.

    Args:
        outputs: where to.
        mask: the values, on `grid`.
        grid: the scan's.
        names: of the mask's values; None where it has none.
        manifest: what ran, as far as it is known before the mask is written.
        drawn: the picture, where one is wanted.
        before: checksums of the files that are replaced, as `Outputs.check` returns them.

    Raises:
        FileError: where something cannot be written; then no manifest describes another mask.
    """
    found: dict[str, str | None] = {"mask_sha256": None, "labels_sha256": None}
    if names is not None:
        table = labels_text(names, outputs.mask).encode("utf-8")
        found["labels_sha256"] = hashlib.sha256(table).hexdigest()

    def ready(new: Path) -> None:
        found["mask_sha256"] = sha256_or_none(new)
        write_json(_begun(manifest, (*before, *filter(None, found.values()))), outputs.record)
        if outputs.overlay is not None:
            withdraw(outputs.overlay)

    write_mask(outputs.mask, mask, grid, names, ready)
    if outputs.overlay is not None and drawn is not None:
        replace_bytes(outputs.overlay, drawn)
    whole = manifest.model_copy(update={**found, "finished": now()})
    write_json(whole, outputs.record)
    return whole


def _begun(manifest: Manifest, checksums: tuple[str, ...]) -> Begun:
    return Begun(
        begun=now(),
        command=manifest.command,
        mask=manifest.mask,
        files_sha256=tuple(sorted(set(checksums))),
        prompts=manifest.prompts,
    )
