"""An automatic model's network that is watched, or given each scan's expert."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.predict.automatic.asking import Automatic
from sam_moe.registry import DataSet
from sam_moe.shapes import Float
from sam_moe.systems.m4oe.answering import answer, by_row
from sam_moe.systems.m4oe.automatic import AutomaticM4oE


@dataclass(eq=False)
class Watched:
    """A network that keeps the expert weights of each slice it answers, by place, until they are taken."""

    network: Automatic
    kept: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """The network's."""
        return self.network.sets

    def look(self, images: Float[Tensor, "n 3 x y"]) -> Float[Tensor, "n p"]:
        """The network's."""
        return self.network.look(images)

    def answer(
        self, images: Float[Tensor, "n 3 x y"], data_set: int
    ) -> tuple[Float[Tensor, "n c x y"], Mapping[str, Routing]]:
        """The network's, whose routing is kept."""
        logits, found = self.network.answer(images, data_set)
        for place, routing in found.items():
            self.kept.setdefault(place, []).append(by_row(routing).weights.cpu())
        return logits, found

    def distance(self, profile: Float[Tensor, " p"], data_set: int) -> float | None:
        """The network's."""
        return self.network.distance(profile, data_set)

    def taken(self) -> dict[str, Float[Tensor, "n e"]]:
        """The weights by place, a row a slice that shows anything; what is answered next begins anew."""
        found = {place: torch.cat(parts) for place, parts in self.kept.items()}
        self.kept.clear()
        return routed(found)


def routed(weights: Mapping[str, Float[Tensor, "n e"]]) -> dict[str, Float[Tensor, "m e"]]:
    """Weights by place without the slices that show nothing, which are routed nowhere."""
    return {place: own[own.sum(dim=1) > 0] for place, own in weights.items()}


@dataclass(frozen=True, eq=False)
class KnownExpert:
    """A network in which the expert of the data set answers alone, as in the first phase of training."""

    network: AutomaticM4oE

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """The network's."""
        return self.network.sets

    def look(self, images: Float[Tensor, "n 3 x y"]) -> Float[Tensor, "n p"]:
        """The network's."""
        return self.network.look(images)

    def answer(
        self, images: Float[Tensor, "n 3 x y"], data_set: int
    ) -> tuple[Float[Tensor, "n c x y"], Mapping[str, Routing]]:
        """Logits of the data set's head by the data set's expert."""
        rule = self.network.module.known(torch.tensor([data_set]))
        return answer(self.network.module, images, data_set, rule)

    def distance(self, profile: Float[Tensor, " p"], data_set: int) -> float | None:
        """The network's."""
        return self.network.distance(profile, data_set)
