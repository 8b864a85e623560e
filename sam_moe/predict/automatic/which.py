"""Which data set a scan is taken for: the nearest by the gate's profile, or the one that was named."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_moe.config import nearest_first
from sam_moe.errors import ConfigError
from sam_moe.predict.automatic.asking import Automatic
from sam_moe.registry import DataSet
from sam_moe.shapes import Float
from sam_moe.slices.glance import glance
from sam_moe.space.volume import Volume


@dataclass(frozen=True)
class Likeness:
    """The data set a scan is taken for, and how far the scan lies from every set's training scans.

    Distances are Mahalanobis distances of the gate's profile, averaged over slices; the gate's softmax is
    not looked at, because it is as sure of a foreign scan as of a known one (ours).

    Attributes:
        taken: the data set.
        asked: whether it was named and not found.
        distances: to every set, by id; None where the weights hold no reference for it.
        titles: what scans of every set show, by id.
    """

    taken: DataSet
    asked: bool
    distances: Mapping[str, float | None]
    titles: Mapping[str, str]

    @property
    def distance(self) -> float | None:
        """To the set that the scan is taken for."""
        return self.distances[self.taken.id]

    @property
    def nearest(self) -> str | None:
        """Id of the set that the scan is most like; None where no reference is known."""
        known = {id: distance for id, distance in self.distances.items() if distance is not None}
        return min(known, key=lambda id: known[id], default=None)

    @property
    def unlike(self) -> bool:
        """Whether it is farther from its set than nearly all of that set's own scans.

        False where the distance, or the card's `far`, is not known.
        """
        far = self.taken.far
        return far is not None and self.distance is not None and self.distance > far

    def __str__(self) -> str:
        title, nearest = self.taken.title, self.nearest
        far = ""
        if self.unlike:
            far = f" (distance {self.distance:.1f}, 95 % of its own below {self.taken.far:.1f})"
        if not self.asked:
            unlike = f", unlike anything trained{far}" if far else ""
            return (
                f"like {title}{unlike}" if nearest is not None else f"taken for {title}, the only set known"
            )
        unlike = f", and unlike it{far}" if far else ""
        other = f"; most like {self.titles[nearest]}" if nearest not in (None, self.taken.id) else ""
        return f"taken for {title}, as asked{unlike}{other}"


@torch.no_grad()
def profile(
    network: Automatic, scan: Volume, data_set: DataSet, device: torch.device | str = "cpu"
) -> Float[Tensor, " p"]:
    """The gate's profile of a scan as a data set's: the mean over the slices of `glance`, on the CPU."""
    return network.look(glance(scan, data_set).to(device)).mean(dim=0).cpu()


def recognised(
    network: Automatic, scan: Volume, as_set: str | None = None, device: torch.device | str = "cpu"
) -> Likeness:
    """The data set that a scan is nearest to, or the one that `as_set` names.

    Raises:
        ConfigError: for an unknown set, the known ones listed; or where none is named, there are several,
            and the weights hold no reference to know them by.
    """
    sets = network.sets
    asked = None if as_set is None else named(sets, as_set)
    distances: dict[str, float | None] = {}
    for number, data_set in enumerate(sets):
        distances[data_set.id] = network.distance(profile(network, scan, data_set, device), number)
    known = [(distance, number) for number, distance in enumerate(distances.values()) if distance is not None]
    if asked is not None:
        taken = asked
    elif known:
        taken = sets[min(known)[1]]
    elif len(sets) == 1:
        taken = sets[0]
    else:
        raise ConfigError(
            "these weights hold no reference by which a scan's data set is known. Name it: "
            f"{', '.join(each.id for each in sets)} (on the command line --as SET)."
        )
    return Likeness(taken, asked is not None, distances, {each.id: each.title for each in sets})


def named(sets: tuple[DataSet, ...], id: str) -> DataSet:
    """The set of this id.

    Raises:
        ConfigError: for an unknown one, the known ones listed, the nearest first.
    """
    found = {each.id: each for each in sets}
    if id not in found:
        raise ConfigError(
            f"no data set {id!r} in this model. Known, nearest first: {', '.join(nearest_first(id, found))}."
        )
    return found[id]
