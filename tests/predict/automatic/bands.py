"""A small network that knows structures by their intensity, so that every label is known by hand."""

import numpy as np
import torch
from torch import nn

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.dense import Dense
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.registry import AutomaticCard, DataSet, ExpertMixture, Label, Weights
from sam_moe.registry.automatic import AboveMean, Window
from sam_moe.space.volume import Volume

AIR, GREY, BRIGHT = 0, 50, 100  # intensities of the background and of the two structures
GREY_MM = np.array([[-30.0, -24, -21], [-8, 12, 15]])  # on the left of the patient
BRIGHT_MM = np.array([[8.0, -12, -18], [26, 24, 9]])  # on the right

BLOCK = DataSet(
    id="block",
    title="CT of a block",
    modality="CT",
    expert="blocks",
    spacing_mm=(2, 2, 3),
    intensity=Window(low=0, high=100),
    # On its way from air to bright an edge is grey: a rind, which is not the largest part
    labels=(Label(name="grey", parts="largest"), Label(name="bright")),
    far=6,
)
SHADE = DataSet(
    id="shade",
    title="MR of a shade",
    modality="MR",
    expert="shades",
    spacing_mm=(3, 3, 3),
    intensity=AboveMean(),
    labels=(Label(name="grey"),),
    far=4,
)


class Bands(nn.Module):
    """Each class has an intensity of its own, and the logit falls with the square of the distance to it.

    Its profile is a slice's mean and least intensity. A set's reference is a place in that plane, its
    deviation a tenth; weights without one have None.
    """

    def __init__(self, sets=(BLOCK, SHADE), known=True):
        super().__init__()
        self.sets, self.known = sets, known
        self.centres = {"block": (0.0, 0.5, 1.0), "shade": (0.0, 9.0)}
        self.references = {"block": torch.tensor([0.5, 0.0]), "shade": torch.tensor([3.0, 3.0])}

    def look(self, images):
        middle = images[:, 1].flatten(1)
        return torch.stack([middle.mean(dim=1), middle.amin(dim=1)], dim=1)

    def distance(self, profile, data_set):
        if not self.known:
            return None
        return float((profile - self.references[self.sets[data_set].id]).norm() / 0.1)

    def answer(self, images, data_set):
        centres = torch.tensor(self.centres[self.sets[data_set].id])
        logits = -100 * (images[:, 1:2] - centres[:, None, None]) ** 2
        gate = torch.stack([images[:, 1].mean(dim=(1, 2)), torch.full((len(images),), 0.5)], dim=1)
        rows = {"deep": gate, "tokens": gate[:, None].expand(-1, 5, -1) * 0}
        rule = Dense()
        routings = {
            place: Routing(("blocks", "shades"), gate, rule.select(gate.softmax(dim=-1)), rule)
            for place, gate in rows.items()
        }
        return logits, routings


def card_of(sets):
    return AutomaticCard(
        id="bands",
        title="Bands of intensity",
        architecture=ConvSizes(classes=tuple(1 + len(each.labels) for each in sets)),
        mixture=ExpertMixture(experts=("blocks", "shades")),
        sets=sets,
        weights=Weights(file="model.safetensors", sha256="a" * 64, size_bytes=1, dtype="float32"),
        licence="Apache-2.0",
        not_for="Anything but tests.",
    )


def model_of(network):
    return AutomaticModel(network, card_of(network.sets), "bands")


def within(places, box_mm, margin_mm=0.0):
    """Which places lie in a box of millimetres, grown by a margin, or shrunk by a negative one."""
    return ((places >= box_mm[0] - margin_mm) & (places <= box_mm[1] + margin_mm)).all(axis=-1)


def places_of(grid):
    return grid.world_of(np.stack(np.indices(grid.shape), axis=-1))


def painted(grid):
    """The same patient on any grid: the grey box on the left, the bright one on the right."""
    places = places_of(grid)
    values = np.full(grid.shape, AIR, dtype=np.int16)
    values[within(places, GREY_MM)] = GREY
    values[within(places, BRIGHT_MM)] = BRIGHT
    return Volume(values, grid)
