"""A small SAM-Med3D's tensors, and whether a model holds them."""

import torch

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes

SMALL = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8)


def random_state(generator, sizes=SMALL):
    """Every tensor of a model of these sizes, filled with seeded noise."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in SamMed3D(sizes).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def assert_holds(model, state):
    assert model.state_dict().keys() == state.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
