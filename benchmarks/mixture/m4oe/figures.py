"""From scans to figures: each that was asked for beside what was reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Literal

import numpy as np

from benchmarks.mixture.m4oe.scans import Seen
from sam_moe.evaluation.routing.modalities import ModalityRouting, ScanChoices, by_modality
from sam_moe.evaluation.scoring.intervals import SHARE, interval
from sam_moe.registry import AutomaticCard

ALARMS = 0.05
_FOREIGN_MODALITY = "MR T1"

# Dice of test patients that the shipped models are asked for: the least of these structures' means.
_LEAST: Mapping[str, Mapping[str, float]] = {
    "m4oe-small": {
        "hippocampus_anterior hippocampus_posterior": 0.84,
        "liver kidney_right kidney_left spleen": 0.70,
        "parotid_left parotid_right mandible": 0.70,
        "brainstem spinal_cord": 0.65,
        "larynx": 0.50,
        "esophagus": 0.25,
    },
    "auto-small": {
        "hippocampus_anterior hippocampus_posterior": 0.87,
        "parotid_left parotid_right mandible": 0.78,
        "brainstem spinal_cord": 0.75,
        "larynx": 0.65,
        "esophagus": 0.45,
    },
}
_MEANS: Mapping[str, Mapping[str, float]] = {
    "m4oe-small": {"liver kidney_right kidney_left spleen": 0.80},
    "auto-small": {"liver kidney_right kidney_left spleen": 0.88},
}

Way = Literal["alone", "gated", "forced"]


@dataclass(frozen=True)
class Figure:
    """One figure: of which model, what it is, the bar, what was reached; `least`: more is better."""

    model: str
    what: str
    asked: float | None
    reached: float
    least: bool = True

    @property
    def verdict(self) -> str:
        """Met, missed, or nothing where no bar was set."""
        if self.asked is None:
            return ""
        met = self.reached >= self.asked if self.least else self.reached <= self.asked
        return "met" if met else "missed"


def known(rows: Sequence[Seen]) -> list[Seen]:
    """The rows of scans of the data sets that were learnt."""
    return [row for row in rows if row.own]


def by_structure(rows: Sequence[Seen], way: Way = "alone") -> dict[str, list[tuple[float, str]]]:
    """Dice and scan of each contoured target, by structure in the order that they come in."""
    found: dict[str, list[tuple[float, str]]] = {}
    for row in known(rows):
        for name, value in getattr(row, way).items():
            found.setdefault(name, []).append((value, row.scan))
    return found


def mean_dice(rows: Sequence[Seen], way: Way) -> float:
    """The mean over structures of their means over scans."""
    return mean(mean(value for value, _ in own) for own in by_structure(rows, way).values())


def interval_of(own: Sequence[tuple[float, str]]) -> tuple[float, float] | None:
    """The 95 % interval of a structure's mean over patients, one scan each."""
    return interval(np.array([value for value, _ in own]), [scan for _, scan in own], SHARE)


def routing_of(rows: Sequence[Seen], card: AutomaticCard) -> ModalityRouting:
    """How the gates routed the slices of known scans, each given its data set."""
    modality = {each.id: each.modality for each in card.sets}
    scans = (
        ScanChoices(
            modality[row.own],
            row.weights,
            {place: tuple(map(int, row.chosen[place])) for place in row.weights},
        )
        for row in known(rows)
    )
    return by_modality(scans, card.mixture.experts)


def named_right(rows: Sequence[Seen], card: AutomaticCard) -> dict[str, float]:
    """Shares of known scans' slices and of volumes whose modality is named.

    Slices by the heaviest expert, at each place and ("") all places' weights together; volumes by the
    heaviest expert of the mean over places and slices ("volumes"), and by the data set that the scan is
    taken for ("taken").
    """
    owners = {each.id: card.mixture.experts.index(each.expert) for each in card.sets}
    modality = {each.id: each.modality for each in card.sets}
    own = known(rows)
    found: dict[str, float] = {}
    for place in own[0].chosen:
        right = [int(one) == owners[row.own] for row in own for one in row.chosen[place]]
        found[place] = mean(right)
    volumes = [
        int(np.mean(list(row.weights.values()), axis=0).argmax()) == owners[row.own]
        for row in own
        if row.weights
    ]
    if volumes:
        found["volumes"] = mean(volumes)
    found["taken"] = mean(modality[row.taken] == modality[row.own] for row in own)
    return found


def alarm_level(rows: Sequence[Seen], alarms: float = ALARMS) -> float | None:
    """The share of `far` that at most this share of the known scans lie beyond."""
    levels = sorted(row.unlike for row in known(rows) if row.unlike is not None)
    return levels[len(levels) - 1 - int(alarms * len(levels))] if levels else None


def flagged(rows: Sequence[Seen], level: float) -> float | None:
    """The share of scans farther than a share of `far`; None without scans."""
    found = [row.unlike > level for row in rows if row.unlike is not None]
    return mean(found) if found else None


def figures(rows: Sequence[Seen], card: AutomaticCard) -> list[Figure]:
    """All figures of one model but its seconds, which are measured apart."""
    made = [*_dice(rows, card.id), *_routing(rows, card), *_foreign(rows, card.id)]
    size = card.weights.size_bytes / 1e6
    return [*made, Figure(card.id, "MB of the weights' file", 8.0, size, least=False)]


def _dice(rows: Sequence[Seen], id: str) -> list[Figure]:
    means = {name: mean(value for value, _ in own) for name, own in by_structure(rows).items()}
    made = []
    for names, bar in _MEANS.get(id, {}).items():
        own = [means[name] for name in names.split() if name in means]
        if own:
            made.append(Figure(id, f"mean Dice: {', '.join(names.split())}", bar, mean(own)))
    for names, bar in _LEAST.get(id, {}).items():
        own = [means[name] for name in names.split() if name in means]
        if own:
            made.append(Figure(id, f"least Dice: {', '.join(names.split())}", bar, min(own)))
    lost = abs(mean_dice(rows, "gated") - mean_dice(rows, "forced"))
    made.append(Figure(id, "mean Dice, by the gates or by the known expert: difference", 0.01, lost, False))
    return [*made, Figure(id, "structures at Dice 0", 0, sum(value == 0 for value in means.values()), False)]


def _routing(rows: Sequence[Seen], card: AutomaticCard) -> list[Figure]:
    right = named_right(rows, card)
    made = [Figure(card.id, "volumes taken for their modality", 1.0, right["taken"])]
    found = routing_of(rows, card)
    if not found.places:
        return made
    places = [right[one.place] for one in found.places]
    return [
        Figure(card.id, "modality named by the gates: slices", 0.98, right[""]),
        Figure(card.id, "the same at the worst place", None, min(places)),
        Figure(card.id, "modality named by the gates: volumes", 1.0, right["volumes"]),
        *made,
        Figure(card.id, "information over gated places, nats", 0.9, found.nats),
        Figure(card.id, "the same, times that of shuffled modalities", 20.0, _times(found)),
    ]


def _times(found: ModalityRouting) -> float:
    return found.nats / found.shuffled if found.shuffled > 0 else float("inf")


def _foreign(rows: Sequence[Seen], id: str) -> list[Figure]:
    foreign = [row for row in rows if not row.own]
    t1 = [row for row in foreign if row.modality.startswith(_FOREIGN_MODALITY)]
    ct = [row for row in foreign if row.modality == "CT"]
    level, made = alarm_level(rows), []
    for what, bar, own, at in (
        ("foreign T1 volumes flagged at 5 % false alarms", 0.6, t1, level),
        ("foreign T1 volumes flagged at the card's far", None, t1, 1.0),
        ("foreign CT volumes flagged at the card's far", None, ct, 1.0),
        ("known test volumes flagged at the card's far (false alarms)", None, known(rows), 1.0),
    ):
        share = None if at is None else flagged(own, at)
        if share is not None:
            made.append(Figure(id, f"{what}, of {len(own)}", bar, share))
    return made


def seconds_by_set(rows: Sequence[Seen]) -> dict[str, float]:
    """The median seconds of a scan, by data set, on one thread beside another."""
    found: dict[str, list[float]] = {}
    for row in known(rows):
        found.setdefault(row.own, []).append(row.seconds)
    return {name: median(own) for name, own in found.items()}
