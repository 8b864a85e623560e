"""The experts behind an answer: a small record of what a mixture chose, kept with the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sam_moe.moe.routing import Routing


@dataclass(frozen=True)
class Answered:
    """The experts behind an answer.

    `experts` has the weight of each that answered, heaviest first; `confidence` the gate's in every expert;
    `why` is the reason in words; `regions` counts the regions of this prediction by the experts that
    answered there: more than one where a target was followed or refined. `fell_back` is true where no
    expert's confidence sufficed, so that the general model answered.
    """

    experts: Mapping[str, float]
    confidence: Mapping[str, float]
    why: str
    regions: Mapping[str, int] = field(default_factory=dict)
    fell_back: bool = False

    def explain(self) -> str:
        """Several lines for a person."""
        sure = sorted(self.confidence.items(), key=lambda item: -item[1])
        names = [name if name in self.experts else f"({name})" for name, _ in sure]
        width = max(map(len, names), default=0)
        lines = [f"{' and '.join(self.experts)} answered: {self.why}"]
        for name, (id, confidence) in zip(names, sure, strict=True):
            weight = self.experts.get(id)
            share = f"  weight {weight:.2f}" if weight is not None and len(self.experts) > 1 else ""
            lines.append(f"  {name:<{width}}  confidence {confidence:.3f}{share}")
        if sum(self.regions.values()) > 1:
            by = ", ".join(f"{name} {count}" for name, count in self.regions.items())
            lines.append(f"  regions asked: {by}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return " + ".join(f"{name} {self.confidence[name]:.2f}" for name in self.experts)


def answered_by(routing: Routing | None) -> Answered | None:
    """The record of the only prompt of a batch; None of a model without experts."""
    if routing is None:
        return None
    confidence = dict(zip(routing.ids, routing.confidence[0].tolist(), strict=True))
    fell_back = bool(routing.selection.fell_back[0])
    return Answered(routing.answered[0], confidence, routing.why[0], fell_back=fell_back)
