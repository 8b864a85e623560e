"""Images of other libraries: taken as volumes, and masks given back as theirs; none is imported before.

torchio's and nibabel's affines and, unless marked otherwise, MONAI's are from voxel indices to RAS+
millimetres, as ours; SimpleITK's images lie in LPS and list their axes the other way round in NumPy. A kind
is recognised by the package that its class comes from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam_moe.errors import FileError
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.text import lps_to_ras
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

KINDS = (
    "a torchio image or Subject, a MONAI MetaTensor, a nibabel or SimpleITK image; of an array, Volume("
    "array, affine) makes one, with the 4x4 matrix from its indices to RAS+ millimetres"
)


def as_volume(image: object) -> Volume | None:
    """An image of another library as a volume, whose numbers are not copied where that can be; else None.

    Raises:
        FileError: for several channels, images or time points: which one is meant?
        GeometryError: for an affine that is none.
    """
    for package in dict.fromkeys(kind.__module__.partition(".")[0] for kind in type(image).__mro__):
        if package in _TAKE and (found := _TAKE[package](image)) is not None:
            return found
    return None


def to_torchio(mask: Shaped[Tensor, "i j k"], grid: Grid) -> Any:
    """A mask or label map as a `torchio.LabelMap` on the same grid."""
    torchio = _library("torchio")
    return torchio.LabelMap(tensor=mask.contiguous()[None], affine=grid.affine.copy())


def to_monai(mask: Shaped[Tensor, "i j k"], grid: Grid) -> Any:
    """A mask or label map as a `monai.data.MetaTensor` of one channel, its affine in RAS+."""
    data = _library("monai.data")
    return data.MetaTensor(
        mask.contiguous()[None],
        affine=torch.from_numpy(grid.affine.copy()),
        meta={"original_channel_dim": 0, "space": "RAS", "spatial_shape": np.array(grid.shape)},
    )


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise FileError(
            f"{package} cannot be imported ({error}). Expected it to be installed: pip install {package}."
        ) from error


def _of_torchio(image: Any) -> Volume | None:
    if hasattr(image, "get_images_dict"):
        images = image.get_images_dict(intensity_only=True)
        if len(images) != 1:
            names = ", ".join(images) or "none"
            raise FileError(
                f"the Subject has {len(images)} intensity images: {names}. Expected one; give the one "
                "that is meant, subject[name]."
            )
        (image,) = images.values()
    if not (hasattr(image, "data") and hasattr(image, "affine")):
        return None
    return Volume(_only(image.data, 0, "torchio image"), Grid(np.asarray(image.affine), image.data.shape[1:]))


def _of_monai(image: Any) -> Volume | None:
    if not (hasattr(image, "as_tensor") and hasattr(image, "affine")):
        return None
    affine: Float[np.ndarray, "4 4"] = np.asarray(image.affine.cpu(), dtype=np.float64)
    if str(getattr(image, "meta", {}).get("space", "RAS")).rpartition(".")[2] == "LPS":
        affine = lps_to_ras(affine)
    array = _only(image.as_tensor().detach(), 0, "MetaTensor")
    return Volume(array, Grid(affine, array.shape))


def _of_nibabel(image: Any) -> Volume | None:
    if not (hasattr(image, "dataobj") and getattr(image, "affine", None) is not None):
        return None
    return Volume(_only(np.asanyarray(image.dataobj), -1, "nibabel image"), image.affine)


def _of_simpleitk(image: Any) -> Volume | None:
    if not hasattr(image, "GetDirection"):
        return None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise FileError(
            f"the SimpleITK image has {image.GetDimension()} dimensions and "
            f"{image.GetNumberOfComponentsPerPixel()} numbers a voxel. Expected 3 and 1; extract the part "
            "that is meant."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = _library("SimpleITK").GetArrayFromImage(image).transpose(2, 1, 0)
    return Volume(array, Grid(lps_to_ras(affine), array.shape))


def _only(array: Any, axis: int, what: str) -> Any:
    """The array without its axis of channels or time, which must have one entry."""
    if array.ndim == 3:
        return array
    if array.ndim != 4 or array.shape[axis] != 1:
        raise FileError(
            f"the {what} has the shape {tuple(array.shape)}. Expected three axes of space, and one channel "
            "or time point if any; take the one that is meant."
        )
    return array[0] if axis == 0 else array[..., 0]


_TAKE: dict[str, Callable[[Any], Volume | None]] = {
    "torchio": _of_torchio,
    "monai": _of_monai,
    "nibabel": _of_nibabel,
    "SimpleITK": _of_simpleitk,
}
