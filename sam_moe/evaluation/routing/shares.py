"""Answers of a mixture counted: for each structure the share of each expert, and the gate's confidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# A structure, the weights of the experts that answered, and the gate's confidence in every expert.
Answer = tuple[str, Mapping[str, float], Mapping[str, float]]


@dataclass(frozen=True)
class StructureShares:
    """One structure: its answers, and of each expert its share of them and its mean confidence.

    Shares sum to 1: an answer of several experts counts for each by its weight, whatever the weights sum to.
    An expert has a confidence whether it answered or not; it has none where the gate gave none.
    """

    structure: str
    answers: int
    shares: Mapping[str, float]
    confidence: Mapping[str, float]


@dataclass(frozen=True)
class Shares:
    """All structures; `experts` in the gate's order, the general one first.

    Structures stand in the order of the experts that answer most of them, the surest first, so that a gate
    that knows its experts shows a staircase.
    """

    experts: tuple[str, ...]
    structures: tuple[StructureShares, ...]


def count(answers: Iterable[Answer], experts: Sequence[str] = ()) -> Shares | None:
    """Count the answers that have an expert; None where no answer has one, as of a model alone.

    `experts` go first, in this order; others in the order in which the answers name them.
    """
    kept = [answer for answer in answers if sum(answer[1].values()) > 0]
    if not kept:
        return None
    named = (id for _, weights, sure in kept for id in (*sure, *weights))
    ids = tuple(dict.fromkeys((*experts, *named)))
    names = dict.fromkeys(structure for structure, _, _ in kept)
    found = [_share(name, [answer for answer in kept if answer[0] == name], ids) for name in names]
    place = {expert: at for at, expert in enumerate(ids)}

    def order(one: StructureShares) -> tuple[int, float, str]:
        most = max(ids, key=lambda id: (one.shares[id], -place[id]))
        return place[most], -one.shares[most], one.structure

    return Shares(ids, tuple(sorted(found, key=order)))


def _share(structure: str, answers: list[Answer], experts: Iterable[str]) -> StructureShares:
    shares, confidence = {}, {}
    for id in experts:
        parts = [weights.get(id, 0.0) / sum(weights.values()) for _, weights, _ in answers]
        shares[id] = sum(parts) / len(parts)
        sure = [known[id] for _, _, known in answers if id in known]
        if sure:
            confidence[id] = sum(sure) / len(sure)
    return StructureShares(structure, len(answers), shares, confidence)
