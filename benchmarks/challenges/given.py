"""Automatic models that are given each scan's data set, by the structures that are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from sam_moe.assemble.load import load_automatic
from sam_moe.evaluation.asking.systems import AutomaticModelUnderTest, describe
from sam_moe.moe.routing import Routing
from sam_moe.predict.automatic.asking import Automatic
from sam_moe.registry import DataSet
from sam_moe.registry.finding import find_model
from sam_moe.shapes import Float


@dataclass(frozen=True, eq=False)
class Unreferenced:
    """A network without what it would know a scan's data set by; for such one the set is given."""

    network: Automatic

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
        """The network's."""
        return self.network.answer(images, data_set)

    def distance(self, profile: Float[Tensor, " p"], data_set: int) -> None:
        """No reference."""
        return


def ask_given(models: Sequence[str]) -> tuple[AutomaticModelUnderTest, ...]:
    """Automatic models by id, card or folder, as systems that are given the data set of each scan.

    Raises:
        CardError: for an unknown model, or one that takes prompts.
    """
    return tuple(map(_given, models))


def _given(model: str) -> AutomaticModelUnderTest:
    entry = find_model(model)
    loaded = load_automatic(entry.path, device="cpu")
    described = describe(entry) | {"data set": "given"}
    return AutomaticModelUnderTest(replace(loaded, network=Unreferenced(loaded.network)), described)
