"""A prediction: frozen records of the answer, its place and its cost; `print` gives one useful line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_moe.errors import FileError, GeometryError
from sam_moe.predict.answered import Answered
from sam_moe.prompts.prompt import Prompt
from sam_moe.registry import Refine
from sam_moe.shapes import Bool, Float, UInt8
from sam_moe.space.extents import extent, part_of, value_counts
from sam_moe.space.files import names_beside, read_label_map, write_mask
from sam_moe.space.foreign import to_monai, to_torchio
from sam_moe.space.grid import Grid
from sam_moe.space.naming import SUFFIXES
from sam_moe.space.sampling import IndexBox
from sam_moe.space.volume import Volume, resample, resample_seen

_LARGEST_VALUE = 255  # of a label map, which is of bytes


@dataclass(frozen=True, eq=False)
class Prediction:
    """One target's answer: a mask and a probability on the scan's own grid. Equal to itself alone.

    `print` gives one line. A prompt of negative points alone, or a target that is not seen, gives an empty
    mask: 0 voxels, 0 ml.

    Attributes:
        answer: the probability, 0 to 1, on the grid it was computed on: a region, or several joined.
        grid: the scan's grid.
        prompt: all items of the target so far, as they were given.
        region: the region where the model answered; the last one where it zoomed out.
        model_id: id of the model's card.
        cached: whether the embedding was there already.
        timings_ms: milliseconds by stage: "cut", "encode", "decode", "restore" and what is "other".
        answered: the experts of a mixture behind the answer, and why they; None of a plain model.
        within: the box that the mask keeps to, where a box was given.
    """

    answer: Volume
    grid: Grid
    prompt: Prompt
    region: Grid
    model_id: str
    cached: bool
    timings_ms: dict[str, float] = field(default_factory=dict)
    answered: Answered | None = None
    within: Grid | None = None

    @cached_property
    def probability(self) -> Volume:
        """The probability on the scan's grid, 0 to 1, float32; 0 where nothing was computed. Then kept."""
        return self.restore()

    def restore(self) -> Volume:
        """Compute `probability` anew and keep nothing: a large scan's takes hundreds of MB."""
        return resample(self.answer, onto=self.grid, within=self._bounds)

    @cached_property
    def _seen(self) -> tuple[Float[Tensor, "x y z"], tuple[slice, ...]]:
        """The probability where it may exceed one half, and the slices of the scan; all else is less.

        Equal to that part of `probability` to the bit, at the cost of the target alone: interpolation
        between voxels that do not exceed one half does not exceed it either (ours).
        """
        return resample_seen(self.answer, self.grid, within=(_extent(self.answer), *self._bounds))

    @property
    def part(self) -> tuple[Bool[Tensor, "x y z"], tuple[slice, ...]]:
        """The mask where the target may be, and the slices of the scan; all else is outside it."""
        probability, where = self._seen
        return probability > 0.5, where

    @property
    def _bounds(self) -> tuple[Grid, ...]:
        return () if self.within is None else (self.within,)

    @cached_property
    def mask(self) -> UInt8[Tensor, "i j k"]:
        """The mask on the scan's grid: 1 where the probability exceeds one half, else 0; uint8, on the CPU.

        Costs what the target does, however large the scan. Laid out as in files, i fastest;
        `mask.contiguous()` is a copy with k fastest, for libraries that want that.
        """
        mask = torch.zeros(self.grid.shape[::-1], dtype=torch.uint8).permute(2, 1, 0)  # laid out as in files
        part, where = self._seen
        inside, seen = (part > 0.5).view(torch.uint8), mask[where]
        for j in range(inside.shape[1]):  # all at once, turning the axes would take three times as long
            seen[:, j].copy_(inside[:, j])
        return mask

    def lightened(self) -> "Prediction":
        """Let go of the mask, a byte a voxel, which is computed again when used; returns itself."""
        self.__dict__.pop("mask", None)
        return self

    @cached_property
    def voxels(self) -> int:
        """How many voxels of the scan the mask covers."""
        return int((self._seen[0] > 0.5).count_nonzero())

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the prompt to the mask, all stages together."""
        return sum(self.timings_ms.values())

    @property
    def volume_ml(self) -> float:
        """The mask's volume in millilitres; 0 of an empty one."""
        return self.voxels * self.grid.voxel_ml

    def dice(self, truth: Volume) -> float:
        """Dice overlap with a mask on the same grid, 0 to 1; 1 where both are empty, 0 where one is.

        Args:
            truth: the mask of one target: 0 and one other value, whichever that is.

        Raises:
            GeometryError: when the truth lies on another grid, or holds several labels.
        """
        if not self.grid.same_as(truth.grid):
            raise GeometryError(
                f"the truth lies on {truth.grid}, the prediction on {self.grid}. Expected one grid; "
                "resample_labels(truth, prediction.grid) brings it over."
            )
        # In the order in which they lie in memory: across it torch is 80 times slower
        order = sorted(range(3), key=lambda axis: -truth.array.stride()[axis])
        values, predicted = truth.array.permute(order), self.mask.permute(order).bool()
        true = values.bool()
        if values.dtype != torch.bool and bool(true.any()):
            value = values.amax() if values.amax() != 0 else values.amin()
            if bool((true & (values != value)).any()):
                raise GeometryError(
                    "the truth holds several labels, and a prediction is of one target. Expected 0 and one "
                    "other value; compare with one label, Volume(truth.array == value, truth.grid)."
                )
        total = int(predicted.count_nonzero()) + int(true.count_nonzero())
        return 2 * int((predicted & true).count_nonzero()) / total if total else 1.0

    def to_torchio(self) -> Any:
        """The mask as a `torchio.LabelMap`, on the scan's grid."""
        return to_torchio(self.mask, self.grid)

    def to_monai(self) -> Any:
        """The mask as a `monai.data.MetaTensor` of one channel, on the scan's grid."""
        return to_monai(self.mask, self.grid)

    def save(self, path: str | Path) -> None:
        """Write the mask on the scan's grid, with `target` as the name of its value 1.

        An older mask of that name is replaced, and the record of the run that made it is removed.

        Args:
            path: the suffix names the format: .nii, .nii.gz, .nrrd or .mha.

        Raises:
            FileError: as `write_mask`.
        """
        write_mask(Path(path), self.mask, self.grid, {1: "target"})

    def __str__(self) -> str:
        how = " (embedding cached)" if self.cached else ""
        experts = f" · {self.answered}" if self.answered else ""
        return (
            f"{self.voxels:,} voxels, {self.volume_ml:.1f} ml · {self.model_id}{experts} · "
            f"{self.latency_ms:.0f} ms{how}"
        )

    def explain(self) -> str:
        """The experts that answered, the gate's confidence in each, and the reason, in several lines."""
        if self.answered is None:
            return f"{self.model_id} answered: a model alone, without experts"
        return self.answered.explain()


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Several targets in one map; where two claim a voxel, the more probable one has it.

    Attributes:
        labels: uint8 on the scan's grid, indexed (i, j, k): 0 for background, n for the n-th target.
        grid: the scan's grid.
        names: name of each value from 1 on; a target of which nothing was found has a name and no voxel.
        predictions: each target's own prediction, by name; empty where the map was made without prompts.
    """

    labels: UInt8[Tensor, "i j k"]
    grid: Grid
    names: dict[int, str]
    predictions: dict[str, Prediction] = field(default_factory=dict)

    @property
    def made_by(self) -> str:
        """Whose labels these are."""
        return "a label map"

    @property
    def refine(self) -> Mapping[str, Refine]:
        """By name whether a promptable model answers the box of the mask better; "none" where not known."""
        return dict.fromkeys(self.names.values(), "none")

    @cached_property
    def voxels(self) -> dict[str, int]:
        """How many voxels each name has, in the order of values; 0 of what was not found."""
        counts = value_counts(self.labels)
        return {name: int(counts[value]) for value, name in sorted(self.names.items())}

    @property
    def volumes_ml(self) -> dict[str, float]:
        """The volume of each name in millilitres."""
        return {name: count * self.grid.voxel_ml for name, count in self.voxels.items()}

    @property
    def not_found(self) -> tuple[str, ...]:
        """The names without a voxel."""
        return tuple(name for name, count in self.voxels.items() if not count)

    @staticmethod
    def read(path: str | Path) -> "LabelMap":
        """Read a map from a file, with the names beside it; "label 3" where a value has none.

        Args:
            path: of a label map as `save` writes it, or of any other tool's.

        Raises:
            FileError, GeometryError: as `read`, and for values above 255, or below 0.
        """
        volume = read_label_map(path)
        low, high = int(volume.array.amin()), int(volume.array.amax())
        if low < 0 or high > _LARGEST_VALUE:
            raise FileError(
                f"{path}: labels from {low} to {high}. Expected 0 to {_LARGEST_VALUE}; renumber them."
            )
        names = names_beside(Path(path)) if str(path).lower().endswith(SUFFIXES) else {}
        labels = volume.array.to(torch.uint8)
        unnamed = [
            n for n, count in enumerate(value_counts(labels).tolist()) if n and count and n not in names
        ]
        names |= {value: f"label {value}" for value in unnamed}
        return LabelMap(labels, volume.grid, dict(sorted(names.items())))

    @staticmethod
    def joined(predictions: Mapping[str, Prediction]) -> "LabelMap":
        """Join the answers about one scan; label n is the n-th name. Only where targets are is looked at."""
        grid = next(iter(predictions.values())).grid
        places = [prediction._seen[1] for prediction in predictions.values()]
        start = [min(place[axis].start for place in places) for axis in range(3)]
        stop = [max(place[axis].stop for place in places) for axis in range(3)]
        # As large as all targets together: the whole scan's would take four times what the labels do
        best = torch.zeros([b - a for a, b in zip(start, stop, strict=True)])
        labels = torch.zeros(grid.shape[::-1], dtype=torch.uint8).permute(2, 1, 0)
        for value, prediction in enumerate(predictions.values(), start=1):
            probability, where = prediction._seen
            part = tuple(slice(w.start - a, w.stop - a) for w, a in zip(where, start, strict=True))
            held, label = best[part], labels[where]
            claimed = (probability > 0.5) & (probability > held)
            label.masked_fill_(claimed, value)
            held.copy_(torch.where(claimed, probability, held))
        return LabelMap(labels, grid, dict(enumerate(predictions, start=1)), dict(predictions))

    def to_torchio(self) -> Any:
        """The labels as a `torchio.LabelMap`, on the scan's grid."""
        return to_torchio(self.labels, self.grid)

    def to_monai(self) -> Any:
        """The labels as a `monai.data.MetaTensor` of one channel, on the scan's grid."""
        return to_monai(self.labels, self.grid)

    def save(self, path: str | Path) -> None:
        """Write the map on the scan's grid, and its names beside it as `<name>.labels.json`.

        Args:
            path: as for `Prediction.save`.

        Raises:
            FileError: as `write_mask`.
        """
        write_mask(Path(path), self.labels, self.grid, self.names)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {prediction}" for name, prediction in self.predictions.items())


def _extent(answer: Volume) -> Grid:
    """The smallest box of voxels around all that exceed one half, and one voxel more to each side."""
    box = extent(answer.array > 0.5) or IndexBox((0, 0, 0), (1, 1, 1))
    return part_of(answer.grid, box, margin=1)
