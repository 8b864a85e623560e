"""A table of prompts to learn routing from: what the gate sees of each, its owner, every expert's Dice."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.files import replacing
from sam_moe.shapes import Bool, Float, Int
from sam_moe.systems.sam_med3d_moe.gate import GateInput
from sam_moe.systems.sam_med3d_moe.train_gate.regions import UNLABELLED

# Counts up when the same regions would give another table.
TABLE_FORMAT = 2


@dataclass(frozen=True)
class GateTable:
    """A row a prompt. `owner` is the column whose expert it is for, `structure` a number into `names`.

    `scan` numbers the scans in the order in which they were met.
    `scores` are the Dice of every expert's answer, against the general expert's answer where nothing is
    labelled: there the mixture is meant to answer as that does. They are NaN for experts that were not asked.
    Answers and targets, averaged to few voxels, are kept where `Asking.keep` is given.
    """

    seen: GateInput
    owner: Int[Tensor, " n"]
    scores: Float[Tensor, "n e"]
    way: Int[Tensor, " n"]
    turn: Int[Tensor, " n"]
    region: Int[Tensor, " n"]
    structure: Int[Tensor, " n"]
    scan: Int[Tensor, " n"]
    names: tuple[str, ...]
    answers: Float[Tensor, "n e k k k"] | None = None
    targets: Float[Tensor, "n k k k"] | None = None

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def labelled(self) -> Bool[Tensor, " n"]:
        """Whether a row is about something that was labelled."""
        known = torch.tensor([name != UNLABELLED for name in self.names], dtype=torch.bool)
        return known[self.structure]

    def rows(self, wanted: Tensor) -> "GateTable":
        """The rows with these numbers, or where a mask is true."""
        parts = {k: None if v is None else v[wanted] for k, v in self._tensors().items()}
        return table_of(parts, self.names)

    def _tensors(self) -> dict[str, Tensor | None]:
        own = ("owner", "scores", "way", "turn", "region", "structure", "scan", "answers", "targets")
        return {**self.seen._asdict(), **{name: getattr(self, name) for name in own}}


def low_dice(answers: Float[Tensor, "b e l l l"], soft: Float[Tensor, "b l l l"]) -> Float[Tensor, "b e"]:
    """Dice of answers at their own resolution, each voxel of the target counting by its share; NaN stays.

    1 where both are empty.
    """
    absent = answers.flatten(2).isnan().any(dim=2)
    inside = (answers > 0).flatten(2).float()
    wanted = soft.flatten(1)
    overlap = torch.einsum("bev,bv->be", inside, wanted)
    both = inside.sum(dim=2) + wanted.sum(dim=1, keepdim=True)
    dice = (2 * overlap / both.clamp(min=1e-6)).where(both > 0, 1.0)
    return dice.masked_fill(absent, torch.nan)


def save_table(table: GateTable, path: Path, origin: str) -> None:
    """Write a table as one safetensors file, whole or not at all; `origin` is all that it depends on."""
    tensors = {k: v.contiguous() for k, v in table._tensors().items() if v is not None}
    about = json.dumps({"format": TABLE_FORMAT, "origin": origin, "names": table.names})
    with replacing(path, (SafetensorError,)) as new:
        save_file(tensors, new, metadata={"gate": about})


def load_table(path: Path, origin: str | None = None) -> GateTable | None:
    """Read a table, or None where there is none of this `origin`, any origin being as good as any for None.

    Raises:
        ConfigError: for a file that is not a table.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("gate", "{}"))
            if about.get("format") != TABLE_FORMAT or origin not in (None, about["origin"]):
                return None
            return table_of({k: file.get_tensor(k) for k in file.keys()}, tuple(about["names"]))  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(
            f"{path}: not readable as a gate's table ({error}). Delete it, to build it again."
        ) from error


def table_of(parts: dict[str, Tensor] | dict[str, Tensor | None], names: tuple[str, ...]) -> GateTable:
    """A table of its columns by name, those of what the gate sees among them."""
    rest: dict[str, Tensor | None] = dict(parts)
    seen = [rest.pop(part) for part in GateInput._fields]
    return GateTable(GateInput(*seen), **rest, names=names)  # type: ignore[arg-type]
