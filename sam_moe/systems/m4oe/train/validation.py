"""How good an automatic model is on whole scans that it never learnt from, on their prepared grids."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sam_moe.moe.selection import SelectionRule
from sam_moe.registry import DataSet
from sam_moe.shapes import Bool
from sam_moe.slices.stack import neighbours
from sam_moe.systems.m4oe.answering import answer
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.training.slices.cache import Whole


class ScansValidation:
    """Dice by data set and structure of a model's weights, the mean over cases that contour it.

    Args:
        model: is given the weights; not the one that learns.
        wholes: gives the cases, anew each time.
        sets: the data sets, in the order of heads.
        known: answers by each data set's expert instead of the gates.
    """

    def __init__(
        self, model: M4oE, wholes: Callable[[], Iterable[Whole]], sets: tuple[DataSet, ...], known: bool
    ) -> None:
        self.model, self.wholes, self.sets, self.known = model, wholes, sets, known

    @torch.no_grad()
    def __call__(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Figures by "<set>/<structure>" and by set, and "score", the mean of the sets."""
        self.model.load_state_dict(weights)
        self.model.eval()
        found: dict[str, list[float]] = {}
        for case in self.wholes():
            data_set = self.sets[case.set]
            images = neighbours(case.stack.array)
            rule: SelectionRule | None = self.model.known(torch.full((1,), case.set)) if self.known else None
            logits, _ = answer(self.model, images, case.set, rule)
            labels = logits.argmax(dim=1).permute(1, 2, 0)
            for number, label in enumerate(data_set.labels, start=1):
                if case.contoured[number]:
                    value = dice(labels == number, case.labels == number)
                    found.setdefault(f"{data_set.id}/{label.name}", []).append(value)
        figures = {name: sum(values) / len(values) for name, values in found.items()}
        for data_set in self.sets:
            own = [value for name, value in figures.items() if name.startswith(f"{data_set.id}/")]
            if own:
                figures[data_set.id] = sum(own) / len(own)
        means = [figures[each.id] for each in self.sets if each.id in figures]
        return {**figures, "score": sum(means) / max(1, len(means))}


def dice(found: Bool[Tensor, "x y z"], wanted: Bool[Tensor, "x y z"]) -> float:
    """Dice of two masks; 1 where both are empty."""
    both, sizes = int((found & wanted).sum()), int(found.sum()) + int(wanted.sum())
    return 2 * both / sizes if sizes else 1.0
