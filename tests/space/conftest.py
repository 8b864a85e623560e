"""Grids of every orientation, and oblique ones, for the tests of this room."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sam_moe.space.grid import Grid

ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]


@pytest.fixture(params=range(48), ids=lambda n: f"orientation{n}")
def orientation(request):
    """One of the 48 ways to lay voxel axes along the world's, as signed columns."""
    return ORIENTATIONS[request.param]


@st.composite
def _grids(draw, most_degrees=180.0, reach_mm=500.0, fewest=1):
    axes = draw(st.sampled_from(ORIENTATIONS))
    if draw(st.booleans()):
        angles = draw(st.tuples(*[st.floats(-most_degrees, most_degrees)] * 3))
        axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * draw(st.tuples(*[st.floats(0.5, 4)] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-reach_mm, reach_mm)] * 3))
    return Grid(affine, draw(st.tuples(*[st.integers(fewest, 24)] * 3)))


@pytest.fixture(scope="session")
def grids():
    """A strategy for any grid: 48 orientations, half of them turned by any angles, spacing 0.5 to 4 mm."""
    return _grids
