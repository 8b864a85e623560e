"""A small random network, and models on it."""

from dataclasses import replace

import pytest
import torch

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.predict.model import Model
from sam_moe.registry import Preprocessing
from sam_moe.space.phantom import ball
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

SMALL = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)


@pytest.fixture
def preprocessing():
    return Preprocessing(region_voxels=32, spacing_mm=1.5, normalisation="positive", zoom_max=8)


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return SamMed3D(SMALL).eval().requires_grad_(False)


@pytest.fixture
def promptable(network):
    """The network with the settings of the public weights."""
    return PromptableSam3D(network, "positive", "mask")


@pytest.fixture
def model(promptable, preprocessing):
    return Model(promptable, preprocessing, "random", refine_regions=4)


@pytest.fixture
def mixture(network, preprocessing):
    """A model with the same network as the general expert of a mixture of three, with an opinionated gate."""

    def expert(name):
        torch.manual_seed(len(name))
        return MaskDecoder(SMALL).eval().requires_grad_(False)

    with torch.random.fork_rng():
        torch.manual_seed(6)
        gate = gating_network(SMALL.out_channels, 3, hidden=8)
        for parameter in gate.columns.parameters():
            torch.nn.init.normal_(parameter)
    bank = ExpertBank(("random", "cord", "liver"), expert, network.mask_decoder)
    promptable = PromptableSam3D(SamMed3DMoE(network, bank, gate), "positive", "mask")
    return Model(promptable, preprocessing, "mixed", refine_regions=4)


@pytest.fixture
def scan(generator):
    return ball(generator)[0]


@pytest.fixture
def predictor(model, scan):
    """A session on the scan."""
    return model.open(scan)


@pytest.fixture
def narrow(model, scan):
    """A session that keeps to one region a target."""
    return replace(model, whole_targets=False).open(scan)


@pytest.fixture
def encodings(network):
    """Counts how often the image encoder runs."""
    calls = []
    network.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    return calls
