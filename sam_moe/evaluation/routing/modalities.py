"""Which expert each gated place chooses for which modality, and how much the choice knows of it."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sam_moe.shapes import Int

SHUFFLES = 20


@dataclass(frozen=True)
class ScanChoices:
    """How the slices of one scan were routed, at each gated place.

    Args:
        modality: of the scan.
        weights: by place the mean weight of each expert over the slices, in the gate's order.
        chosen: by place the expert with the most weight on each slice, by its number in the gate's order.
    """

    modality: str
    weights: Mapping[str, tuple[float, ...]]
    chosen: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PlaceRouting:
    """One gated place.

    Args:
        place: its name.
        shares: by modality the mean weight of each expert over slices; they sum to 1.
        nats: information between the chosen expert and the modality.
        shuffled: the same with modalities dealt anew, the mean over `SHUFFLES` deals.
    """

    place: str
    shares: Mapping[str, tuple[float, ...]]
    nats: float
    shuffled: float


@dataclass(frozen=True)
class ModalityRouting:
    """All gated places in their order; `experts` in the gate's order, `slices` by modality."""

    experts: tuple[str, ...]
    slices: Mapping[str, int]
    places: tuple[PlaceRouting, ...]

    @property
    def nats(self) -> float:
        """Information summed over places."""
        return sum(place.nats for place in self.places)

    @property
    def shuffled(self) -> float:
        """The same with modalities dealt anew."""
        return sum(place.shuffled for place in self.places)

    def as_csv(self) -> str:
        """A line a place and modality: its experts' shares, the information of the place and its control."""
        table = io.StringIO()
        write = csv.writer(table, lineterminator="\n")
        write.writerow(["place", "modality", "slices", *self.experts, "nats", "shuffled"])
        for one in self.places:
            for modality, shares in one.shares.items():
                figures = [f"{value:.4f}" for value in (*shares, one.nats, one.shuffled)]
                write.writerow([one.place, modality, self.slices[modality], *figures])
        return table.getvalue()


def by_modality(scans: Iterable[ScanChoices], experts: Sequence[str], seed: int = 0) -> ModalityRouting:
    """Count the slices of scans; modalities in the order of their first scan. Without scans: no places."""
    found = list(scans)
    modalities = tuple(dict.fromkeys(scan.modality for scan in found))
    places = tuple(found[0].chosen) if found else ()
    of_slice = np.concatenate(
        [np.full(_slices(scan), modalities.index(scan.modality)) for scan in found] or [np.zeros(0, int)]
    )
    made = []
    for place in places:
        chosen = np.concatenate([np.array(scan.chosen[place], int) for scan in found])
        rng = np.random.default_rng(seed)
        control = [information_nats(chosen, rng.permutation(of_slice)) for _ in range(SHUFFLES)]
        shares = {modality: _shares(place, modality, found) for modality in modalities}
        nats = information_nats(chosen, of_slice)
        made.append(PlaceRouting(place, shares, nats, sum(control) / SHUFFLES))
    counts = {m: sum(_slices(scan) for scan in found if scan.modality == m) for m in modalities}
    return ModalityRouting(tuple(experts), counts, tuple(made))


def information_nats(chosen: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> float:
    """Mutual information of choice and group in nats, each group weighed alike whatever its size.

    `sum_g 1/G sum_c p(c|g) ln(p(c|g) / p(c))`, `p(c)` the mean of `p(c|g)` over groups: 0 where all groups
    choose alike, ln G where every group has a choice of its own. 0 without rows.

    >>> round(information_nats(np.array([0, 0, 1]), np.array([0, 0, 1])), 4)
    0.6931
    """
    if not len(chosen):
        return 0.0
    groups = np.unique(groups, return_inverse=True)[1]
    counts = np.zeros((groups.max() + 1, chosen.max() + 1))
    np.add.at(counts, (groups, chosen), 1)
    given = counts / counts.sum(axis=1, keepdims=True)
    overall = np.broadcast_to(given.mean(axis=0), given.shape)
    there = given > 0
    return float((given[there] * np.log(given[there] / overall[there])).sum() / len(given))


def _slices(scan: ScanChoices) -> int:
    return len(next(iter(scan.chosen.values()), ()))


def _shares(place: str, modality: str, scans: Sequence[ScanChoices]) -> tuple[float, ...]:
    own = [scan for scan in scans if scan.modality == modality]
    counts = np.array([_slices(scan) for scan in own], float)
    weights = np.array([scan.weights[place] for scan in own])
    return tuple((counts @ weights / counts.sum()).tolist())
