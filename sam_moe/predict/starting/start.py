"""A label map taken up as targets: each label shown as it is, refined by itself, joined again at the end."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count

import torch

from sam_moe.config import nearest_first
from sam_moe.errors import GeometryError, PromptError, ValuesError
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.predict.starting.session import Session
from sam_moe.predict.starting.shown import ShownLabel, StandingMask
from sam_moe.predict.starting.target import LabelTarget
from sam_moe.registry import Refine
from sam_moe.space.extents import extents
from sam_moe.space.grid import Grid


class Start(Mapping[str, LabelTarget]):
    """The targets of a label map, by name, in the order of their values; `Predictor.start_from` makes it.

    `start["liver"].refine(click)` changes one, `refine_by_rule()` all whose boxes the model answers better;
    `label_map()` joins what stands.

    Attributes:
        map: the label map that was taken up; nothing changes it.
    """

    def __init__(self, map: LabelMap, targets: Mapping[str, LabelTarget]) -> None:
        self.map, self._targets = map, dict(targets)

    def __getitem__(self, name: str) -> LabelTarget:
        """The target of a label.

        Raises:
            KeyError: for a name that the map does not have.
        """
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._targets)

    def __len__(self) -> int:
        """How many labels the map names."""
        return len(self._targets)

    def __str__(self) -> str:
        """A line a label: what stands, and whose answer it is."""
        width = max(map(len, self))
        return "\n".join(f"{name:<{width}}  {_line(target)}" for name, target in self.items())

    @property
    def not_found(self) -> tuple[str, ...]:
        """The labels without a voxel, which a prompt begins."""
        return tuple(name for name, target in self.items() if not target.found)

    def refine_by_rule(self) -> None:
        """Let the model answer the boxes of the masks whose rule is "box"; the other masks stand."""
        for target in self.values():
            target.refine_by_rule()

    def label_map(self) -> LabelMap:
        """Join what stands, under the map's own values and names.

        Where several targets claim a voxel, the one that was prompted last has it; without prompts a kept
        mask, and of answers to boxes the more probable one (ours). Before any call the map's own labels.
        """
        standing = {name: found for name, target in self.items() if (found := target.standing()) is not None}
        predictions = {name: prediction.lightened() for name, prediction in standing.items()}
        values = {name: value for value, name in self.map.names.items()}
        order = sorted(predictions, key=lambda name: self[name].changed_at)
        kept = [n for n in order if self[n].changed_at or isinstance(predictions[n], StandingMask)]
        boxes = {name: predictions[name] for name in order if name not in kept}
        labels = torch.zeros(self.map.grid.shape[::-1], dtype=torch.uint8).permute(2, 1, 0)
        if boxes:
            table = torch.tensor([0, *(values[name] for name in boxes)], dtype=torch.uint8)
            labels.copy_(table[LabelMap.joined(boxes).labels.int()])
        for name in kept:
            inside, where = predictions[name].part
            labels[where].masked_fill_(inside, values[name])
        return LabelMap(labels, self.map.grid, dict(self.map.names), predictions)


def start(
    label_map: LabelMap,
    onto: Grid,
    rules: Mapping[str, str] | None,
    fresh: Callable[[], Session],
    limit_bytes: int,
) -> Start:
    """Take up a label map on a scan's grid.

    Args:
        label_map: its labels are shown.
        onto: the scan's grid.
        rules: in place of the map's own, for some or all names.
        fresh: begins a session of the promptable model on the scan.
        limit_bytes: how many bytes of changed pieces are kept, of all targets together.

    Raises:
        GeometryError: for a map on another grid.
        PromptError: for a map that names no label, or one name twice, and for rules that are none, or for a
            name it does not have.
        ValuesError: for labels without a name.
    """
    if not label_map.grid.same_as(onto):
        raise GeometryError(
            f"the label map lies on {label_map.grid}, the scan on {onto}. Expected one grid; bring the map "
            "over: LabelMap(resample_labels(Volume(map.labels, map.grid), scan.grid).array, scan.grid, "
            "map.names)."
        )
    names = list(label_map.names.values())
    if not names or len(set(names)) < len(names):
        raise PromptError(
            f"a label map that names {', '.join(names) or 'no label'}. Expected a name of its own for each "
            "label; give LabelMap names, {1: 'liver'}."
        )
    if unknown := sorted({*(rules or {})} - {*names}):
        near = ", ".join(nearest_first(unknown[0], names))
        raise PromptError(f"refine: no label {unknown[0]!r} in this map. Known, nearest first: {near}.")
    boxes = extents(label_map.labels)
    if unnamed := sorted(boxes.keys() - label_map.names.keys()):
        raise ValuesError(
            f"the map has voxels of label {unnamed[0]}, which has no name. Expected names for all labels; "
            "name it, or make it 0."
        )
    numbers, share = count(1), limit_bytes // len(names)
    targets = {}
    for value, name in sorted(label_map.names.items()):
        rule = _rule((rules or {}).get(name, label_map.refine.get(name, "none")))
        shown = ShownLabel(name, value, rule, label_map, boxes.get(value))
        targets[name] = LabelTarget(shown, fresh, lambda: next(numbers), share)
    return Start(label_map, targets)


def _rule(text: str) -> Refine:
    if text == "box":
        return "box"
    if text == "none":
        return "none"
    raise PromptError(f'refine: {text!r} is no rule. Expected "none" or "box".')


def _line(target: LabelTarget) -> str:
    answer: Prediction | None = target.standing()
    if answer is None:
        return "not found; a prompt begins it"
    return f"{answer.voxels:,} voxels, {answer.volume_ml:.1f} ml · {target.answered_by}"
