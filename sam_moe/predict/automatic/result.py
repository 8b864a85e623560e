"""What automatic segmentation answers: a label map, and which experts made it of what kind of scan."""

from collections.abc import Mapping
from dataclasses import dataclass

from sam_moe.predict.automatic.which import Likeness
from sam_moe.predict.prediction import LabelMap
from sam_moe.registry import Refine


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation(LabelMap):
    """The structures of a scan, found without a prompt: a `LabelMap` whose values are its data set's labels.

    `print` gives what the scan was taken for, and a line a structure. Equal to itself alone.

    Attributes:
        likeness: the data set that the scan was taken for, and the distance to every set.
        shares: for each gated place of the network the mean weight of each expert over the slices, heaviest
            first.
        model_id: id of the model's card.
        timings_ms: milliseconds by stage: "look", "prepare", "answer", "restore".
    """

    likeness: Likeness
    shares: Mapping[str, Mapping[str, float]]
    model_id: str
    timings_ms: Mapping[str, float]

    @property
    def made_by(self) -> str:
        """The model's id."""
        return self.model_id

    @property
    def refine(self) -> Mapping[str, Refine]:
        """By name whether a promptable model answers the box of the mask better, as the card says."""
        return {label.name: label.refine for label in self.likeness.taken.labels}

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the scan to its labels, all stages together."""
        return sum(self.timings_ms.values())

    @property
    def experts(self) -> dict[str, float]:
        """The mean weight of each expert over all gated places, heaviest first; empty without experts."""
        total: dict[str, float] = {}
        for shares in self.shares.values():
            for expert, share in shares.items():
                total[expert] = total.get(expert, 0.0) + share / len(self.shares)
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def explain(self) -> str:
        """What the scan was taken for, its distance to every set, and each place's experts: several lines."""
        lines = [str(self.likeness)]
        for id, distance in self.likeness.distances.items():
            known = "no reference" if distance is None else f"distance {distance:.2f}"
            lines.append(f"  {self.likeness.titles[id]}: {known}")
        for place, shares in self.shares.items():
            lines.append(f"  {place}: {_shown(shares)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        experts = f" · {_shown(self.experts)}" if self.shares else ""
        head = f"{self.likeness} · {self.model_id}{experts} · {self.latency_ms:.0f} ms"
        found = {name: volume for name, volume in self.volumes_ml.items() if volume}
        width = max(map(len, found), default=0)
        lines = [f"{name:<{width}}  {volume:.1f} ml" for name, volume in found.items()]
        missing = [f"not found: {', '.join(self.not_found)}"] if self.not_found else []
        return "\n".join([head, *lines, *missing])


def _shown(shares: Mapping[str, float]) -> str:
    return " + ".join(f"{expert} {share:.2f}" for expert, share in shares.items())
