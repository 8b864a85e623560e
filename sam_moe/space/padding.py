"""Numbers that a scanner writes where it saw nothing: far below all that it can measure, and no image."""

from sam_moe.space.volume import Volume

# Air is -1000 in a CT, and noise goes a little lower; -2000, -3024 and -32768 are what scanners pad with.
LEAST_SEEN = -1100
_ONE_VALUE = 0.9


def without_padding(volume: Volume, in_place: bool = False) -> Volume:
    """Raise padding to the least value that was measured; a scan without padding is given back itself.

    Ours, for scans whose header names no padding value (a DICOM series names its own, and is read without):
    padding is where at least nine in ten of the voxels below -1100 are the least value of all. The tenth is
    for what interpolation left between padding and image. Lower values that vary were measured, as those of
    a phase image, and stay. With `in_place` the volume's own array is changed.
    """
    if not volume.array.dtype.is_signed:
        return volume
    # In the order in which the numbers lie in memory: across it torch is many times slower.
    order = sorted(range(3), key=lambda axis: -volume.array.stride()[axis])
    array = volume.array.detach().permute(order)
    least = array.amin()
    if not bool(least < LEAST_SEEN):
        return volume
    low = array < LEAST_SEEN
    if bool(low.all()) or int((array == least).sum()) < _ONE_VALUE * int(low.sum()):
        return volume
    measured = array[~low].min()
    if in_place:
        array.masked_fill_(low, measured)
        return volume
    raised = array.masked_fill(low, measured)
    return Volume(raised.permute([order.index(axis) for axis in range(3)]), volume.grid)
