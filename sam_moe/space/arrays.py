"""Arrays of NumPy and of libraries that subclass torch's tensor, as plain tensors on their grid."""

import numpy as np
import torch
from torch import Tensor

from sam_moe.errors import GeometryError
from sam_moe.shapes import Float
from sam_moe.space.grid import Grid


def tensor_of(array: object) -> Tensor:
    """The numbers as a plain tensor: of a NumPy array, or of a subclass that other libraries carry."""
    if isinstance(array, Tensor):
        return array if type(array) is Tensor else array.as_subclass(Tensor)
    if not isinstance(array, np.ndarray):
        raise GeometryError(
            f"a {type(array).__name__} is no array. Expected a torch tensor or a NumPy array of three axes; "
            "make one of it with numpy.asarray."
        )
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise GeometryError(
            f"an array of {array.dtype}. Expected real numbers, one a voxel; convert it, such as with "
            "array.astype('float32')."
        )
    # What torch cannot share: other byte orders, axes that run backwards, memory that must not be written
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    shared = native.flags.writeable and min(native.strides, default=0) >= 0
    return torch.from_numpy(native if shared else native.copy(order="K"))


def on_grid(array: object, grid: object) -> tuple[Tensor, Grid]:
    """An array as a tensor with its grid, which an affine in its place makes of the array's shape.

    Raises:
        GeometryError: when the array's shape is not the grid's, or it holds no numbers.
    """
    found = tensor_of(array)
    place = grid if isinstance(grid, Grid) else Grid(_affine(grid), (*found.shape,))
    if tuple(found.shape) != place.shape:
        raise GeometryError(
            f"an array of shape {tuple(found.shape)} does not fit {place}. Expected one number for each "
            "voxel, axes in the order of the grid."
        )
    return found, place


def _affine(given: object) -> Float[np.ndarray, "4 4"]:
    affine = np.asarray(given, dtype=np.float64)
    if affine.shape != (4, 4):
        raise GeometryError(
            f"a matrix of shape {affine.shape} is not an affine. Expected 4x4, from indices to millimetres."
        )
    return affine
