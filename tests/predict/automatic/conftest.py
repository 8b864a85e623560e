"""The network of bands, a model of it, and a patient on a plain grid."""

import pytest

from sam_moe.space.grid import Grid
from tests.predict.automatic.bands import Bands, model_of, painted


@pytest.fixture
def network():
    return Bands()


@pytest.fixture
def model(network):
    return model_of(network)


@pytest.fixture
def scan():
    return painted(Grid.around((0, 0, 0), (56, 52, 36), (1.5, 1.5, 2)))
