"""Numbers that a scanner writes where it saw nothing: far below all that it can measure, and no image."""

import torch

from sam_moe.space.volume import Volume

# Air is -1000 in a CT, and noise goes a little lower; -2000, -3024 and -32768 are what scanners pad with.
LEAST_SEEN = -1100
_ONE_VALUE = 0.9


def without_padding(volume: Volume) -> Volume:
    """Raise padding to the least value that was measured; a scan without padding is given back itself.

    Ours, for scans whose header names no padding value (a DICOM series names its own, and is read without):
    padding is where at least nine in ten of the voxels below -1100 are the least value of all. The tenth is
    for what interpolation left between padding and image. Lower values that vary were measured, as those of
    a phase image, and stay.
    """
    array = volume.array
    low = array.dtype.is_signed and array < LEAST_SEEN
    if not isinstance(low, torch.Tensor) or not bool(low.any()) or bool(low.all()):
        return volume
    if int((array == array[low].min()).sum()) < _ONE_VALUE * int(low.sum()):
        return volume
    return Volume(torch.where(low, array[~low].min(), array), volume.grid)
