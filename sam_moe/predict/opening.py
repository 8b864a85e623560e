"""A scan as prediction takes it up: read, of a type that computes, finite and with something to see."""

from collections.abc import Mapping
from pathlib import Path

import torch

from sam_moe.errors import FileError
from sam_moe.space.files import read, read_header
from sam_moe.space.files.header import available_memory_bytes
from sam_moe.space.foreign import KINDS, as_volume
from sam_moe.space.padding import LEAST_SEEN, without_padding
from sam_moe.space.volume import Volume

# Types that torch stores but does not compute with, and the next larger one that it does.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


# Bytes a voxel that answering adds to the scan: the mask of a target, and the map that several are joined in.
_MASKS_BYTES = 2
_WORK = "the model's work"


def opened(scan: object, work_bytes: int = 0) -> tuple[Volume, float]:
    """Take up a scan, read from a file if it is a path; returns it with its least value (ours).

    Before a voxel is read, what the whole prediction takes is compared with the memory that is free: the
    scan, its masks and `work_bytes` for the model.

    Raises:
        SamMoeError: for what is no scan: unreadable, complex, not finite or without contrast; or too large.
    """
    path = scan if isinstance(scan, str | Path) else None
    given = scan if isinstance(scan, Volume) else as_volume(scan)
    if path is None and given is None:
        raise FileError(f"a {type(scan).__name__} is no scan. Expected a path, a Volume, {KINDS}.")
    if path is not None:
        header = read_header(path)
        kept = header.shape[0] * header.shape[1] * header.shape[2] * header.dtype.itemsize
        check_memory(str(path), header.shape, {"the scan": kept, _WORK: work_bytes}, header.memory_bytes)
    elif given is not None:
        check_memory("the scan", given.grid.shape, {_WORK: work_bytes})
    # A constant image is refused below, in one line: no warning of it before.
    volume = read(path, quiet=True) if given is None and path is not None else given
    assert volume is not None
    name = "the scan" if path is None else str(path)
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


def check_memory(
    name: str, shape: tuple[int, int, int], parts: Mapping[str, int], reading_bytes: int = 0
) -> None:
    """See that predicting on a scan of this shape fits into the memory that is free.

    Args:
        name: of the scan.
        shape: its voxels; its masks are counted, too.
        parts: bytes of all else that is held at a time, by what it is.
        reading_bytes: what reading takes, before anything else.

    Raises:
        FileError: with the numbers, where it does not.
    """
    free = available_memory_bytes()
    held = {**parts, "its masks": shape[0] * shape[1] * shape[2] * _MASKS_BYTES}
    whole = max(reading_bytes, sum(held.values()))
    if free is not None and whole > free:
        listed = ", ".join(f"{what} {size / 2**30:.2f}" for what, size in held.items() if size)
        raise FileError(
            f"{name}: predicting on {'x'.join(map(str, shape))} voxels would take {whole / 2**30:.2f} GiB of "
            f"memory ({listed}), and {free / 2**30:.2f} GiB are free. Expected a scan that fits; crop or "
            "resample it, or free memory."
        )
