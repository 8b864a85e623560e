"""What a gate makes of validation prompts by its own way of choosing, against the general expert alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam_moe.moe.fusion import fuse
from sam_moe.moe.names import Fusion
from sam_moe.moe.selection import Selection, SelectionRule, shares
from sam_moe.registry import Measurement
from sam_moe.shapes import Float
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable, low_dice
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import curve

# What a card calls these figures; a command that ends finds them by it.
GAINED = "Dice gained on average, experts' structures"
LOST = "Dice lost at most, general structures"
LEFT = "share left to the general model, experts' structures"

_ROWS = 256


@dataclass(frozen=True)
class StructureFigures:
    """Of one structure: mean Dice of the general expert and of the mixture, the weight that its owner had."""

    general: float
    mixture: float | None
    owned: float


@dataclass(frozen=True)
class GateFigures:
    """By structure and in all; Dice is None where several answers are fused and the table keeps none.

    `left` is the share of the experts' prompts that the general expert answers; None without such prompts.
    """

    structures: dict[str, StructureFigures]
    gained: float | None
    lost: float | None
    left: float | None

    def measurements(self, data: str, protocol: str) -> tuple[Measurement, ...]:
        """As a card lists them, in all first."""
        found: list[tuple[str, float | None, str]] = [
            (GAINED, self.gained, data),
            (LOST, self.lost, data),
            (LEFT, self.left, data),
        ]
        for name, one in self.structures.items():
            here = f"{name}, {data}"
            found += [("routed to its owner", one.owned, here), ("Dice", one.mixture, here)]
            found.append(("Dice, general", one.general, here))
        return tuple(
            Measurement(metric=metric, value=round(value, 4) + 0.0, data=where, protocol=protocol)
            for metric, value, where in found
            if value is not None
        )


def figures(
    confidence: Float[Tensor, "n e"], table: GateTable, rule: SelectionRule, fusion: Fusion
) -> GateFigures:
    """Choose for every row of a table as the rule does, and sum up what comes of it."""
    chosen = rule.select(confidence)
    mixed = _mixed(chosen, table, fusion)
    weight = shares(rule, confidence)
    owned = weight.gather(1, table.owner[:, None])[:, 0]
    structures = {}
    for number, name in enumerate(table.names):
        here = table.structure == number
        if here.any():
            mixture = None if mixed is None else float(mixed[here].mean())
            general = float(table.scores[here, 0].mean())
            structures[name] = StructureFigures(general, mixture, float(owned[here].mean()))
    special = table.owner > 0
    left = float(weight[special, 0].mean()) if special.any() else None
    if mixed is None:
        return GateFigures(structures, None, None, left)
    # The curve's own sums, with the mixture for the only expert, and chosen everywhere.
    against = replace(table, scores=torch.stack([table.scores[:, 0], mixed], dim=1))
    (point,) = curve(torch.tensor([[0.0, 1.0]]).expand(len(table), 2), against, (0.5,))
    return GateFigures(structures, point.specialised_gain, point.general_drop, left)


def _mixed(chosen: Selection, table: GateTable, fusion: Fusion) -> Float[Tensor, " n"] | None:
    """Each row's Dice of what is answered."""
    if chosen.experts.shape[1] == 1:
        return table.scores.gather(1, chosen.experts)[:, 0]
    if table.answers is None or table.targets is None:
        return None
    found = []
    for rows in torch.arange(len(table)).split(_ROWS):
        answers = table.answers[rows[:, None], chosen.experts[rows]].float()
        fused = fuse(answers, chosen.weights[rows], fusion)
        found.append(low_dice(fused[:, None], table.targets[rows].float())[:, 0])
    return torch.cat(found)
