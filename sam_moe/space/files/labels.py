"""Label maps: whole numbers, however they are stored."""

from pathlib import Path

from sam_moe.errors import ValuesError
from sam_moe.space.files.reading import read, read_header
from sam_moe.space.naming import LARGEST_LABEL
from sam_moe.space.volume import Volume

# How far from a whole number a label may lie that a tool stored as a fraction.
_ROUNDING = 1e-3
# A header's slope stores numbers to half of itself; at a whole slope of 1/2 two labels would meet.
_COARSEST = 0.25


def read_label_map(path: str | Path, memory_limit_bytes: int | None = None) -> Volume:
    """Read a label map as whole numbers; a map without any label is read without a warning.

    Values that a slope in the header left beside a whole number are rounded: nibabel saves labels 1 and 2 of
    floating point under a header of 16 bits as 1.0000153 and 2.

    Raises:
        FileError, GeometryError: as `read`.
        ValuesError: for fractions that are no rounding, such as probabilities.
    """
    volume = read(path, memory_limit_bytes, quiet=True)
    if not volume.array.is_floating_point():
        return volume
    scale = read_header(path).scale
    return whole_numbers(volume, str(path), 0.0 if scale is None else abs(scale[0]))


def whole_numbers(volume: Volume, name: str, slope: float = 0.0) -> Volume:
    """A label map of integers from one of floating point; `slope` is the step that its values were stored in.

    Raises:
        ValuesError: naming `name`, for fractions and for numbers beyond 32 bits.
    """
    if not volume.array.is_floating_point():
        return volume
    whole = volume.array.round()
    off = float((whole - volume.array).abs().max())
    if not off <= max(_ROUNDING, min(0.51 * slope, _COARSEST)):
        raise ValuesError(f"{name}: fractions in a label map. Expected whole numbers; threshold it first.")
    if float(whole.abs().max()) > LARGEST_LABEL:
        raise ValuesError(f"{name}: labels beyond {LARGEST_LABEL}. Expected smaller ones; renumber them.")
    return Volume(whole.int(), volume.grid)
