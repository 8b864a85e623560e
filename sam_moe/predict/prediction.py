"""A prediction: frozen records of the answer, its place and its cost; `print` gives one useful line."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import GeometryError
from sam_moe.predict.answered import Answered
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import UInt8
from sam_moe.space.files import write_mask
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample, resample_seen


@dataclass(frozen=True)
class Prediction:
    """One target's answer.

    `answer` is the probability on the grid it was computed on (a region, or several joined); `probability`
    is the same on the scan's own grid, computed when first asked for. `timings_ms` has a stage's name and
    its milliseconds. `answered` says which experts of a mixture answered, and why; None of a plain model.
    """

    answer: Volume
    grid: Grid
    prompt: Prompt
    region: Grid
    model_id: str
    cached: bool
    timings_ms: dict[str, float] = field(default_factory=dict)
    answered: Answered | None = None

    @cached_property
    def probability(self) -> Volume:
        """The probability on the scan's grid, float32; 0 where nothing was computed."""
        return self.restore()

    def restore(self) -> Volume:
        """Compute `probability` anew and keep nothing: a large scan's takes hundreds of MB."""
        return resample(self.answer, onto=self.grid)

    @cached_property
    def mask(self) -> UInt8[Tensor, "i j k"]:
        """1 where the probability exceeds one half; costs what the region does, however large the scan."""
        mask = torch.zeros(self.grid.shape, dtype=torch.uint8)
        part, where = resample_seen(self.answer, self.grid)
        mask[where] = (part > 0.5).to(torch.uint8)
        return mask

    @cached_property
    def voxels(self) -> int:
        """How many voxels of the scan the mask covers."""
        return int(self.mask.count_nonzero())

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the prompt to the mask, all stages together."""
        return sum(self.timings_ms.values())

    @property
    def volume_ml(self) -> float:
        """The mask's volume in millilitres."""
        return self.voxels * self.grid.voxel_ml

    def dice(self, truth: Volume) -> float:
        """Dice overlap with a mask on the same grid; 1 where both are empty.

        Raises:
            GeometryError: when the truth lies on another grid.
        """
        if not self.grid.same_as(truth.grid):
            raise GeometryError(
                f"the truth lies on {truth.grid}, the prediction on {self.grid}. Expected one grid; "
                "resample_labels(truth, prediction.grid) brings it over."
            )
        predicted, true = self.mask.bool(), truth.array.bool()
        total = int(predicted.count_nonzero()) + int(true.count_nonzero())
        return 2 * int((predicted & true).count_nonzero()) / total if total else 1.0

    def save(self, path: str | Path) -> None:
        """Write the mask on the scan's grid; the suffix names the format."""
        write_mask(Path(path), self.mask, self.grid, {1: "target"})

    def __str__(self) -> str:
        how = " (embedding cached)" if self.cached else ""
        who = f" · {self.answered}" if self.answered else ""
        return (
            f"{self.voxels:,} voxels, {self.volume_ml:.1f} ml · {self.model_id}{who} · "
            f"{self.latency_ms:.0f} ms{how}"
        )

    def explain(self) -> str:
        """Who answered, how sure the gate was of every expert, and why it was they."""
        if self.answered is None:
            return f"{self.model_id} answered: a model alone, with nobody to choose"
        return self.answered.explain()


@dataclass(frozen=True)
class LabelMap:
    """Several targets in one map; where two claim a voxel, the more probable one has it."""

    labels: UInt8[Tensor, "i j k"]
    grid: Grid
    names: dict[int, str]
    predictions: dict[str, Prediction]

    def save(self, path: str | Path) -> None:
        """Write the map on the scan's grid, and its names beside it."""
        write_mask(Path(path), self.labels, self.grid, self.names)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {prediction}" for name, prediction in self.predictions.items())
