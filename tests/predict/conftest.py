"""A small random model, and predictors on it."""

import pytest
import torch

from sam_moe.predict.predictor import Predictor
from sam_moe.registry import Preprocessing
from sam_moe.sam3d.model import SamMed3D
from sam_moe.sam3d.sizes import Sizes

SMALL = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)


@pytest.fixture
def preprocessing():
    return Preprocessing(region_voxels=32, spacing_mm=1.5, normalisation="positive", zoom_max=8)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return SamMed3D(SMALL).eval().requires_grad_(False)


@pytest.fixture
def predictor(model, preprocessing):
    return Predictor(model, preprocessing, "mask", "random", refine_regions=4)
