"""What automatic segmentation asks of a network: slices of a data set in, logits of its head out."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.registry import DataSet
from sam_moe.shapes import Float


@runtime_checkable
class Automatic(Protocol):
    """A network that segments slices without a prompt; it knows nothing of scans.

    Threads share it, so it keeps nothing of an answer. Images are axial slices as `slices.stack.neighbours`
    gives them, x to the right and y to the front, the slices below and above as channels.
    """

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """The data sets it learnt, in the order of its heads."""

    def look(self, images: Float[Tensor, "n 3 x y"]) -> Float[Tensor, "n p"]:
        """The gate's profile of each slice: logits of all gated places beside each other, pooled over it."""

    def answer(
        self, images: Float[Tensor, "n 3 x y"], data_set: int
    ) -> tuple[Float[Tensor, "n c x y"], Mapping[str, Routing]]:
        """Logits of a set's head on the images' own pixels, and the routing at each gated place.

        Any size of image is answered: padding and tiling are the network's business. The classes are the
        background, then the set's labels.
        """

    def distance(self, profile: Float[Tensor, " p"], data_set: int) -> float | None:
        """Mahalanobis distance of a scan's mean profile to a set's training scans.

        None where the weights hold no such reference.
        """
