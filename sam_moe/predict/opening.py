"""A scan as prediction takes it up: read, of a type that computes, finite and with something to see."""

from pathlib import Path

import torch

from sam_moe.errors import FileError
from sam_moe.space.files import read
from sam_moe.space.padding import LEAST_SEEN, without_padding
from sam_moe.space.volume import Volume

# Types that torch stores but does not compute with, and the next larger one that it does.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


def opened(scan: object) -> tuple[Volume, float]:
    """Take up a scan, read from a file if it is a path; returns it with its least value (ours).

    Raises:
        SamMoeError: for what is no scan: unreadable, complex, not finite or without contrast.
    """
    if not isinstance(scan, Volume | str | Path):
        raise FileError(
            f"a {type(scan).__name__} is no scan. Expected a path or a Volume; of an array, "
            "Volume(torch.from_numpy(array), Grid(affine, array.shape)) makes one."
        )
    # A constant image is refused below, in one line: no warning of it before.
    volume = scan if isinstance(scan, Volume) else read(scan, quiet=True)
    name = "the scan" if isinstance(scan, Volume) else str(scan)
    if volume.array.is_complex():
        raise FileError(f"{name} holds complex numbers. Expected real ones; take their magnitude.")
    if volume.array.dtype in _WIDER:
        volume = Volume(volume.array.to(_WIDER[volume.array.dtype]), volume.grid)
    low, high = _ends(volume)
    if low != low or max(-low, high) == float("inf"):
        raise FileError(
            f"{name} holds NaN or infinite numbers. Expected finite ones; replace them, for example by the "
            "value of air."
        )
    if not high > low:
        raise FileError(
            f"every voxel of {name} is {low:g}. Expected an image with contrast; check that this is the scan "
            "and not an empty mask."
        )
    if low < LEAST_SEEN:
        volume = without_padding(volume)
        low, _ = _ends(volume)
    return volume, low


def _ends(volume: Volume) -> tuple[float, float]:
    """The least and the greatest value; NaN where any is.

    The axes are taken in the order in which they lie in memory: across it torch is 80 times slower.
    """
    array = volume.array.detach()
    low, high = torch.aminmax(array.permute(sorted(range(3), key=lambda axis: -array.stride()[axis])))
    return float(low), float(high)
