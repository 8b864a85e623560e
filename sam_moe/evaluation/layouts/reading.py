"""Scans and label maps from whatever file a layout names."""

from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.space.files import read
from sam_moe.space.volume import Volume


def read_image(path: Path) -> Volume:
    """A scan on its own grid."""
    return read(path)


def read_truth(path: Path) -> Volume:
    """A label map: whole numbers, whatever type they are stored in.

    Raises:
        FileError: for a file that cannot be read, or numbers that are no labels.
    """
    volume = read(path, quiet=True)
    if volume.array.is_floating_point():
        whole = volume.array.round()
        if not bool((whole == volume.array).all()):
            raise FileError(f"{path}: fractions in a label map. Expected whole numbers; threshold it first.")
        return Volume(whole.int(), volume.grid)
    return volume
