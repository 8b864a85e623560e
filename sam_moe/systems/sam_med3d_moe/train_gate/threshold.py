"""Below which confidence the general expert answers: chosen on validation prompts, and written as a curve."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sam_moe.files import replacing
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.registry import CurvePoint
from sam_moe.shapes import Float
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable

# Thresholds that are tried.
TAUS = tuple(round(n / 50, 2) for n in range(51))
# Structures with fewer validation prompts, 30 regions asked once and corrected twice, or of fewer scans, are
# taken together, all alike: where each of ten has ten regions, some structure loses 0.02 by one, whatever the
# gate, and one patient says nothing of a class.
LEAST_PROMPTS = 90
LEAST_SCANS = 2
# Gains this close are the same gain.
_SLACK = 0.001


@dataclass(frozen=True)
class Choice:
    """A threshold, whether it keeps what was asked of it, and why it is this one."""

    threshold: float
    kept: bool
    why: str


def curve(
    confidence: Float[Tensor, "n e"], table: GateTable, taus: Sequence[float] = TAUS
) -> tuple[CurvePoint, ...]:
    """For each threshold the largest loss of a general structure and the mean gain of the experts' ones.

    Both in mean Dice against the general expert alone, over the rows of each structure; prompts about
    places without a label count for neither. Structures with fewer than `LEAST_PROMPTS` rows or `LEAST_SCANS`
    scans are one.
    """
    return tuple(_point(tau, *_changes(confidence, table, tau)) for tau in taus)


def choose(points: Sequence[CurvePoint], most_drop: float = 0.005) -> Choice:
    """The threshold with the highest gain among those where no general structure loses more than `most_drop`.

    Of neighbours with as good a gain the middle one: there the gate may err most without a difference. Where
    none qualifies, the one that loses least.
    """
    fit = [n for n, point in enumerate(points) if point.general_drop <= most_drop]
    if not fit:
        safest = min(points, key=lambda p: (p.general_drop, -p.threshold))
        return Choice(
            safest.threshold,
            False,
            f"no threshold keeps the loss within {most_drop:g} Dice; {safest.threshold:g} is the safest, "
            f"losing {safest.general_drop:.4f}",
        )
    best = max(fit, key=lambda n: points[n].specialised_gain)
    level = [n for n in fit if points[n].specialised_gain >= points[best].specialised_gain - _SLACK]
    low = high = best
    while low - 1 in level:
        low -= 1
    while high + 1 in level:
        high += 1
    middle = points[(low + high) // 2]
    return Choice(
        middle.threshold,
        True,
        f"gains {middle.specialised_gain:.4f} and loses at most {middle.general_drop:.4f} Dice; as good from "
        f"{points[low].threshold:g} to {points[high].threshold:g}",
    )


def write_curve(points: Sequence[CurvePoint], choice: Choice, most_drop: float, folder: Path) -> None:
    """Write `curve.csv` and `curve.png`."""
    with replacing(folder / "curve.csv") as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["threshold", "general_drop", "specialised_gain"])
        writer.writerows([p.threshold, p.general_drop, p.specialised_gain] for p in points)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    taus = [p.threshold for p in points]
    axes.plot(
        taus, [p.specialised_gain for p in points], color="#0072B2", label="mean gain, experts' structures"
    )
    axes.plot(
        taus, [p.general_drop for p in points], color="#D55E00", label="largest loss, general structures"
    )
    axes.axhline(
        most_drop, color="#D55E00", linewidth=0.8, linestyle=":", label=f"allowed loss {most_drop:g}"
    )
    axes.axvline(
        choice.threshold, color="#444444", linewidth=0.8, linestyle="--", label=f"chosen {choice.threshold:g}"
    )
    axes.set(xlabel="confidence below which the general expert answers", ylabel="Dice, against it alone")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    with replacing(folder / "curve.png") as new:
        figure.savefig(new, dpi=120)


def _changes(
    confidence: Float[Tensor, "n e"], table: GateTable, tau: float
) -> tuple[list[float], list[float]]:
    """Changes in mean Dice of the general structures, and of the experts' ones."""
    chosen = Threshold(tau).select(confidence).experts
    change = table.scores.gather(1, chosen)[:, 0] - table.scores[:, 0]
    general, special, rare = [], [], []
    for number in table.structure[table.labelled].unique().tolist():
        here = table.structure == number
        for own in (False, True):
            rows = change[here & ((table.owner > 0) == own)]
            if own and len(rows):
                special.append(float(rows.mean()))
            elif len(rows) >= LEAST_PROMPTS and len(table.scan[here].unique()) >= LEAST_SCANS:
                general.append(float(rows.mean()))
            elif len(rows):
                rare.append(float(rows.mean()))
    if rare:
        general.append(sum(rare) / len(rare))
    return general, special


def _point(tau: float, general: Sequence[float], special: Sequence[float]) -> CurvePoint:
    drop = max((-change for change in general), default=0.0)
    gain = sum(special) / len(special) if special else 0.0
    return CurvePoint(threshold=tau, general_drop=round(drop, 5), specialised_gain=round(gain, 5))
