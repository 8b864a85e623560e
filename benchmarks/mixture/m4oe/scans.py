"""One scan seen by one automatic model: what it is taken for, its Dice in three ways, its routing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.cases import DATA, ROOT, described, part_of
from benchmarks.mixture.m4oe.networks import KnownExpert, Watched
from sam_moe.evaluation.challenge.challenge import Case, Opened, cases_of, load_challenge, open_case
from sam_moe.evaluation.scoring.metrics import dice
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.predict.automatic.which import Likeness, recognised
from sam_moe.space.files import read
from sam_moe.systems.m4oe.automatic import AutomaticM4oE

CHALLENGE = ROOT / "benchmarks" / "challenges" / "multimodal" / "challenge.yaml"
FOREIGN, FOREIGN_PARTS = "sts_tumour_ct_mr", ("validation", "test")


@dataclass(frozen=True)
class Job:
    """A scan of a known data set, by its place in the challenge, or a foreign one by its file."""

    id: str
    modality: str
    known: int | None = None
    image: str = ""


@dataclass(frozen=True)
class Seen:
    """What a model made of a scan.

    Args:
        model, sha256: the model's id, and the checksum of its weights.
        scan, modality: of the scan.
        own: the data set that it is of; empty for a foreign scan.
        taken: the data set that it was taken for.
        distance, far: to that one, and beyond what the card calls a scan unlike it.
        alone: Dice by structure as the model answers by itself.
        gated: the same, the data set given, experts weighed by the gates.
        forced: the same, the expert given, too.
        weights: by place the mean weight of each expert over slices.
        chosen: by place the expert with the most weight on each slice, a digit a slice; "" is all places'
            weights together.
        seconds: from the scan to its labels.
    """

    model: str
    sha256: str
    scan: str
    modality: str
    own: str
    taken: str
    distance: float | None
    far: float | None
    alone: Mapping[str, float] = field(default_factory=dict)
    gated: Mapping[str, float] = field(default_factory=dict)
    forced: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def unlike(self) -> float | None:
        """The distance as a share of the card's `far`; None where either is unknown."""
        return None if self.distance is None or self.far is None else self.distance / self.far

    def as_json(self) -> dict[str, Any]:
        """All of it, strict JSON."""
        return asdict(self)

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Seen":
        """What `as_json` gave."""
        weights = {place: tuple(own) for place, own in data["weights"].items()}
        return cls(**{**data, "weights": weights})


def known_cases(challenge: Path = CHALLENGE, data: Path = DATA) -> tuple[Case, ...]:
    """The test scans of the data sets that the models learnt."""
    return cases_of(load_challenge(challenge, data))


def jobs(cases: tuple[Case, ...], foreign: bool = True) -> list[Job]:
    """All scans: those of the challenge, then those of the foreign set."""
    found = [Job(case.id, case.strata["modality"], number) for number, case in enumerate(cases)]
    if foreign:
        for part in FOREIGN_PARTS:
            for case in part_of(part).get(FOREIGN, []):
                modality = described(FOREIGN)[case.id]["modality"]
                found.append(Job(case.id, modality, image=str(case.image)))
    return found


def see(model: AutomaticModel, job: Job, cases: tuple[Case, ...]) -> Seen:
    """One scan by one model; of a foreign one the likeness alone.

    Raises:
        SamMoeError: for a scan that cannot be read.
    """
    if job.known is None:
        return _seen(model, job, "", recognised(model.network, read(Path(job.image))))
    case = cases[job.known]
    opened, own = open_case(case), case.strata["set"]
    watched = Watched(model.network)
    session = replace(model, network=watched).open(opened.scan)
    start = perf_counter()
    alone = session.segment()
    seconds = perf_counter() - start
    gated = alone
    if alone.likeness.taken.id != own:
        watched.taken()
        gated = session.segment(own)
    weights = watched.taken()
    assert isinstance(model.network, AutomaticM4oE)
    forced = replace(model, network=KnownExpert(model.network)).open(opened.scan).segment(own)
    seen = _seen(model, job, own, alone.likeness)
    return replace(
        seen,
        alone=overlaps(opened, alone),
        gated=overlaps(opened, gated),
        forced=overlaps(opened, forced),
        weights={place: tuple(each.mean(dim=0).tolist()) for place, each in weights.items()},
        chosen=choices(weights),
        seconds=round(seconds, 3),
    )


def _seen(model: AutomaticModel, job: Job, own: str, likeness: Likeness) -> Seen:
    taken = likeness.taken
    sha256 = model.card.weights.sha256
    return Seen(
        model.id, sha256, job.id, job.modality, own, taken.id, distance=likeness.distance, far=taken.far
    )


def choices(weights: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The heaviest expert of each slice as digits, at each place, and under "" of all places together."""
    if not weights:
        return {}
    together = torch.stack(list(weights.values())).sum(dim=0)
    each = {**weights, "": together}
    return {place: "".join(map(str, own.argmax(dim=1).tolist())) for place, own in each.items()}


def overlaps(opened: Opened, found: Segmentation) -> dict[str, float]:
    """Dice of each contoured structure; 0 for one that is not found, or not of the set it was taken for."""
    values = {name: value for value, name in found.names.items()}
    labels = found.labels.numpy()
    return {
        name: dice(np.asarray(truth.array.numpy().astype(bool)), labels == values.get(name, -1))
        for name, truth in opened.truths.items()
    }
