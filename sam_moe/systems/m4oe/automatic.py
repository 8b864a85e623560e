"""M4oE as an automatic model: slices in, logits and routing out, and how like its scans are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.registry import DataSet
from sam_moe.shapes import Float
from sam_moe.systems.m4oe.answering import answer
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.references import distance


class AutomaticM4oE:
    """A frozen M4oE with its data sets; it keeps `predict.automatic.asking.Automatic`.

    Args:
        module: the network, on its device.
        sets: its data sets, in the order of heads.
        references: by data set the mean and inverse covariance of its scans' profiles, where known.
    """

    def __init__(
        self, module: M4oE, sets: tuple[DataSet, ...], references: Mapping[str, tuple[Tensor, Tensor]]
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self._sets, self._references = sets, dict(references)

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """The data sets it learnt, in the order of its heads."""
        return self._sets

    def look(self, images: Float[Tensor, "n 3 x y"]) -> Float[Tensor, "n p"]:
        """The gates' logits of each slice, place beside place, less each place's mean logit.

        Each slice is answered by the gates themselves, whichever set it is of.
        """
        _, found = answer(self.module, images, 0)
        logits = [routing.logits - routing.logits.mean(dim=1, keepdim=True) for routing in found.values()]
        return torch.cat(logits, dim=1) if logits else images.new_zeros(len(images), 0)

    def answer(
        self, images: Float[Tensor, "n 3 x y"], data_set: int
    ) -> tuple[Float[Tensor, "n c x y"], Mapping[str, Routing]]:
        """Logits of a set's head on the images' own pixels, and how each gated place routed each slice."""
        return answer(self.module, images, data_set)

    def distance(self, profile: Float[Tensor, " p"], data_set: int) -> float | None:
        """Mahalanobis distance of a scan's mean profile to a set's training scans; None where unknown."""
        found = self._references.get(self._sets[data_set].id)
        return None if found is None else distance(profile, *found)
