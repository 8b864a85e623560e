"""Dice of automatic masks, of their largest parts, of answers to their boxes, and of the card's rule."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.cases import DATA, ROOT
from sam_moe.evaluation.challenge.challenge import Case, Opened, cases_of, load_challenge, open_case
from sam_moe.evaluation.scoring.metrics import dice
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.model import Model
from sam_moe.registry import AutomaticCard, DataSet, Entry, Label
from sam_moe.shapes import Bool, UInt8
from sam_moe.space.connected import largest_part
from sam_moe.systems.m4oe.load import load as load_m4oe

CHALLENGE = ROOT / "benchmarks" / "challenges" / "multimodal" / "challenge.yaml"


@dataclass(frozen=True)
class Measured:
    """One structure of one scan; Dice, 0 to 1.

    Args:
        set, structure, scan, patient: which.
        found: whether the automatic mask has a voxel.
        all: of the whole automatic mask.
        largest: of its largest part.
        box: of the promptable model's answer to the box of that; 0 where nothing was found.
        alone: of the automatic mask as the card keeps its parts.
        rule: of that structure in the map that the card's rules come to.
    """

    set: str
    structure: str
    scan: str
    patient: str
    found: bool
    all: float
    largest: float
    box: float
    alone: float
    rule: float


def cases_of_part(part: str, challenge: Path = CHALLENGE, data: Path = DATA) -> tuple[Case, ...]:
    """The challenge's cases in another part of its splits."""
    found = load_challenge(challenge, data)
    sources = tuple(source.model_copy(update={"part": part}) for source in found.sets)
    moved = found.model_copy(update={"sets": sources})
    moved._folder, moved._data = found.folder, found.data
    return cases_of(moved)


def with_labels(card: AutomaticCard, changes: Mapping[tuple[str, str], Mapping[str, str]]) -> AutomaticCard:
    """A card with other `parts` and `refine`, by data set and structure."""

    def changed(data_set: DataSet, label: Label) -> Label:
        return label.model_copy(update=dict(changes.get((data_set.id, label.name), {})))

    sets = tuple(
        each.model_copy(update={"labels": tuple(changed(each, label) for label in each.labels)})
        for each in card.sets
    )
    return card.model_copy(update={"sets": sets})


def whole_masks(entry: Entry[AutomaticCard]) -> AutomaticModel:
    """The model of a card, keeping all parts of every mask."""
    every = {(each.id, label.name): {"parts": "all"} for each in entry.card.sets for label in each.labels}
    card = with_labels(entry.card, every)
    loaded = load_m4oe(Entry(card, entry.path), None, "cpu", None)
    return AutomaticModel(loaded.network, card, card.id)


def measure(model: AutomaticModel, card: AutomaticCard, then: Model, case: Case) -> Iterator[Measured]:
    """Every contoured structure of one scan, which is taken for the set that it is of.

    Args:
        model: of `whole_masks`.
        card: whose rules are followed for `alone` and `rule`.
        then: the promptable model.
        case: the scan; its stratum `set` is the id of its data set.
    """
    opened = open_case(case)
    own = next(each for each in card.sets if each.id == case.strata["set"])
    automatic = model.open(opened.scan).segment(own.id)
    session = then.open(opened.scan)
    boxes = session.start_from(automatic, {label.name: "box" for label in own.labels})
    kept = replace(automatic, labels=with_parts(automatic.labels, own.labels))
    started = session.start_from(kept, {label.name: label.refine for label in own.labels})
    started.refine_by_rule()
    joined = started.label_map()
    for value, label in enumerate(own.labels, start=1):
        if label.name not in opened.truths:
            continue
        answer = boxes[label.name].refine_by_rule()
        mask = automatic.labels == value

        def score(found: Bool[Tensor, "i j k"], name: str = label.name) -> float:
            return overlap(opened, name, found)

        yield Measured(
            own.id,
            label.name,
            case.id,
            case.patient,
            found=answer is not None,
            all=score(mask),
            largest=score(largest_part(mask)),
            box=0.0 if answer is None else score(answer.mask.bool()),
            alone=score(kept.labels == value),
            rule=score(joined.labels == value),
        )


def with_parts(labels: UInt8[Tensor, "i j k"], of: Sequence[Label]) -> UInt8[Tensor, "i j k"]:
    """A label map with the largest parts alone of the labels that keep no others."""
    kept = labels.clone()
    for value, label in enumerate(of, start=1):
        if label.parts == "largest":
            mask = labels == value
            kept[mask & ~largest_part(mask)] = 0
    return kept


def overlap(opened: Opened, name: str, mask: Bool[Tensor, "i j k"]) -> float:
    """Dice of a mask with a structure's truth."""
    return float(dice(np.asarray(opened.truths[name].array.numpy(), dtype=bool), mask.numpy()))
