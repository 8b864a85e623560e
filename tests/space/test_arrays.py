"""Arrays of NumPy become tensors of the same numbers."""

import numpy as np
import pytest
import torch

from sam_moe.errors import GeometryError
from sam_moe.space.volume import Volume


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a,
        lambda a: a.astype(">i2"),
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1],
        lambda a: a.astype(np.uint16),
        lambda a: a > 50,
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
def test_a_numpy_array_becomes_a_tensor_of_the_same_numbers(make):
    array = make(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4) * 4)
    volume = Volume(array, np.diag([1.0, 2, 3, 1]))
    assert isinstance(volume.array, torch.Tensor) and volume.grid.spacing_mm == (1, 2, 3)
    assert np.array_equal(volume.array.numpy(), array)


def test_a_numpy_array_is_shared_where_torch_can():
    array = np.zeros((2, 3, 4), np.float32)
    volume = Volume(array, np.eye(4))
    array[1, 2, 3] = 7
    assert volume.array[1, 2, 3] == 7


def test_what_holds_no_numbers_is_refused_with_the_remedy():
    for thing, words in (
        ([[[1.0]]], "numpy.asarray"),
        (np.array([[["a"]]]), "astype"),
        (1.5, "numpy.asarray"),
    ):
        with pytest.raises(GeometryError, match=words):
            Volume(thing, np.eye(4))
    with pytest.raises(GeometryError, match="not an affine"):
        Volume(np.zeros((2, 2, 2)), np.zeros((4, 4)))
    with pytest.raises(GeometryError, match="not an affine"):
        Volume(np.zeros((2, 2, 2)), np.zeros((3, 3)))
