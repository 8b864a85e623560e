"""A DICOM series from a folder, or from one of its files; series with gaps or mixtures are refused."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from sam_moe.errors import FileError, GeometryError
from sam_moe.files import open_file
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.header import Header, check_header
from sam_moe.space.files.stacking import stack
from sam_moe.space.files.text import check_positive, lps_to_ras, numbers
from sam_moe.space.padding import LEAST_SEEN

logger = logging.getLogger(__name__)
sitk: Any = SimpleITK  # its signatures have no types

_SERIES, _DESCRIPTION, _MODALITY = "0020|000e", "0008|103e", "0008|0060"
_POSITION, _ORIENTATION, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
_FRAMES, _SAMPLES = "0028|0008", "0028|0002"
_PADDING, _PADDING_LIMIT, _SIGNED = "0028|0120", "0028|0121", "0028|0103"
_LONG_AXIS = 0.01  # from rounding to two digits
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"


@dataclass(frozen=True, eq=False)
class _Slice:
    """One file of a series: where its first voxel is, and what its voxels are (LPS millimetres)."""

    path: Path
    size: tuple[int, int]
    stored: np.dtype
    position: Float[np.ndarray, " 3"]
    rows: Float[np.ndarray, "3 2"]
    spacing: Float[np.ndarray, " 2"]
    padding: tuple[float, float] | None = None


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file is DICOM, by the four letters after its preamble."""
    return start[128:132] == b"DICM"


def holds_dicom(folder: Path) -> bool:
    """Whether a file of DICOM lies directly in a folder."""
    return any(_is_dicom(path) for path in sorted(folder.iterdir()))


def read_dicom_header(path: Path) -> Header:
    """Read and check the headers of all files of the series."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its remarks go to stderr, ours are errors
    slices = [_slice(name, about) for name, about in _series(path)]
    first = slices[0]
    if len(slices) < 2:
        raise FileError(
            f"{path}: the series has one slice. Expected a scan at least 2 voxels thick; hand in the folder "
            "that holds the whole series."
        )
    for other in slices:
        if other.size != first.size or not np.allclose(other.spacing, first.spacing, rtol=1e-4):
            raise FileError(
                f"{path}: slices differ, {first.path.name} has {first.size} voxels of "
                f"{first.spacing.tolist()} mm, {other.path.name} {other.size} of {other.spacing.tolist()} "
                "mm. Expected one size; split the series."
            )
        if not np.allclose(other.rows, first.rows, atol=1e-4):
            raise GeometryError(
                f"{path}: slices lie in different planes, {first.path.name} along "
                f"{first.rows.T.round(4).tolist()}, {other.path.name} along "
                f"{other.rows.T.round(4).tolist()}. Expected one orientation, as scouts have several; remove "
                "the slices that do not belong."
            )
    normal = np.cross(first.rows[:, 0], first.rows[:, 1])
    slices.sort(key=lambda s: float(normal @ s.position))
    places = np.array([slice_.position for slice_ in slices])
    origin, step = stack(path, places, normal, [slice_.path.name for slice_ in slices])
    affine: Float[np.ndarray, "4 4"] = np.eye(4)
    affine[:3, :2] = first.rows * first.spacing
    affine[:3, 2] = step
    affine[:3, 3] = origin
    shape = (*first.size, len(slices))
    stored = np.dtype(np.result_type(*{s.stored for s in slices}))
    files = tuple(slice_.path for slice_ in slices)
    paddings = {slice_.padding for slice_ in slices}
    padding = paddings.pop() if len(paddings) == 1 else None
    return check_header(
        Header(path, "DICOM", shape, stored, lps_to_ras(affine), files=files, padding=padding)
    )


def read_dicom_voxels(path: Path, header: Header) -> Shaped[np.ndarray, "i j k"]:
    """Read the voxels, rescaled to the modality's units, in order of position.

    What the series names as padding (0028,0120), below all that a scanner measures, becomes the least value
    measured: it is no part of the image.
    """
    out = np.empty(header.shape, header.stored, order="F")
    for k, name in enumerate(header.files):
        try:
            image = sitk.ReadImage(str(name))
        except RuntimeError as error:
            raise FileError(
                f"{name}: its pixels cannot be decoded ({_last_line(error)}). Expected an uncompressed or "
                "usual compressed transfer syntax; decompress the series, for example with gdcmconv --raw."
            ) from error
        out[:, :, k] = sitk.GetArrayViewFromImage(image).reshape(header.shape[1], header.shape[0]).T
    if header.padding is not None and header.padding[0] < LEAST_SEEN:
        padded = (out > header.padding[0] - 0.5) & (out < header.padding[1] + 0.5)  # slopes are rounded
        if padded.any() and not padded.all():
            out[padded] = max(out[~padded].min(), LEAST_SEEN)  # noise below air is no air
    return out


def _series(path: Path) -> list[tuple[Path, Any]]:
    """The files of the one series in a folder, or of the series of one file, with their readers."""
    if path.is_file():
        about = _information(path)
        _slice(path, about)  # refused now rather than after a look through a whole folder
        own = _uid(about)
        if not own:
            raise FileError(
                f"{path}: no series number (0020,000E). Expected a DICOM image of a series; export it again."
            )
        found, others = _look_through(path.parent)
        if others:
            logger.warning(
                "%s: %d files beside it are no images, such as %s", path, len(others), others[0].name
            )
        return found[own]
    found, others = _look_through(path)
    if others:
        raise FileError(
            f"{path}: {len(others)} DICOM files in this folder are no images that can be read, such as "
            f"{others[0].name}. Expected the slices of one series; mend or remove them, or hand in one file "
            "of the series that is meant."
        )
    if not found:
        raise FileError(
            f"{path}: no DICOM images in this folder. Expected the files of one series directly in it; check "
            "the path."
        )
    if len(found) > 1:
        rows = [f"{uid} ({_about(files)})" for uid, files in found.items()]
        raise FileError(
            f"{path}: {len(found)} series in this folder: {'; '.join(rows)}. Expected one; hand in one file "
            "of the series that is meant."
        )
    return next(iter(found.values()))


def _look_through(folder: Path) -> tuple[dict[str, list[tuple[Path, Any]]], list[Path]]:
    """All DICOM images of a folder by series, and the DICOM files that are no images."""
    found: dict[str, list[tuple[Path, Any]]] = {}
    others = []
    for path in sorted(folder.iterdir()):
        if not _is_dicom(path):
            continue
        try:
            about = _information(path)
        except FileError:
            others.append(path)
        else:
            found.setdefault(_uid(about), []).append((path, about))
    return found, others


def _is_dicom(path: Path) -> bool:
    if not path.is_file() or path.name == "DICOMDIR" or path.name.startswith("._"):
        return False  # pipes and devices too, and what macOS leaves beside each file of an archive
    with open_file(path) as file:
        return looks_like_dicom(file.read(132)) or path.suffix.lower() in (".dcm", ".ima")


def _about(files: list[tuple[Path, Any]]) -> str:
    """What a person needs to know of a series to choose it: modality, description, slices, one file."""
    path, about = files[0]
    text = " ".join(filter(None, (_value(about, _MODALITY), _value(about, _DESCRIPTION))))
    return f"{text or 'no description'}, {len(files)} slices, such as {path.name}"


def _uid(about: Any) -> str:
    return _value(about, _SERIES)


def _value(about: Any, key: str) -> str:
    """A tag's text, cleaned of padding and line ends; empty where the tag is missing."""
    if not about.HasMetaDataKey(key):
        return ""
    text = about.GetMetaData(key).encode("utf-8", "replace").decode("utf-8", "replace")
    return " ".join(text.replace("\0", " ").split())


def _information(path: Path) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise FileError(
            f"{path}: not a DICOM image that can be read ({_last_line(error)}). Expected a slice with "
            "pixels, not a report, plan or structure set; hand in the images of the series."
        ) from error
    return reader


def _slice(path: Path, about: Any) -> _Slice:
    def value(key: str) -> str:
        return _value(about, key)

    if value(_FRAMES) not in ("", "1"):
        raise FileError(
            f"{path}: {value(_FRAMES)} frames in one file. Expected one slice in each file; convert "
            "multi-frame DICOM to NIfTI first, for example with dcm2niix."
        )
    if about.GetNumberOfComponents() != 1 or value(_SAMPLES) not in ("", "1"):
        raise FileError(f"{path}: a colour image. Expected grey values; hand in the original series.")
    for key, name in (
        (_POSITION, "position"),
        (_ORIENTATION, "orientation"),
        (_PIXEL_SPACING, "pixel spacing"),
    ):
        if not value(key):
            raise FileError(
                f"{path}: no {name} ({key}) in its header, so its place is unknown. Expected a slice of a "
                "CT, MR or PET; screen captures and plain radiographs are no 3-D scans."
            )
    position = numbers(path, "position", value(_POSITION).replace("\\", " "), 3)
    rows = np.array(numbers(path, "orientation", value(_ORIENTATION).replace("\\", " "), 6)).reshape(2, 3).T
    lengths = np.linalg.norm(rows, axis=0)
    if np.abs(lengths - 1).max() > _LONG_AXIS:
        raise GeometryError(
            f"{path}: its orientation {rows.T.tolist()} has axes of length {lengths.tolist()}. Expected unit "
            "vectors, as the distances of voxels stand elsewhere; the header is damaged, export it again."
        )
    if np.abs(lengths - 1).max() > 1e-6:
        rows = rows / lengths  # rounded to a few digits
    between_rows, between_columns = numbers(
        path, "pixel spacing", value(_PIXEL_SPACING).replace("\\", " "), 2
    )
    check_positive(path, "pixel spacing", [between_rows, between_columns])
    name = sitk.GetPixelIDValueAsString(about.GetPixelID())
    stored = _pixel_type(path, name)
    width, height = about.GetSize()[:2]
    spacing = np.array([between_columns, between_rows])
    size, padding = (int(width), int(height)), _padding(path, about)
    return _Slice(path, size, stored, np.array(position), rows, spacing, padding)


def _padding(path: Path, about: Any) -> tuple[float, float] | None:
    """The least and the greatest number that stand for no image, in the modality's units, if any do."""
    words = [_value(about, key) for key in (_PADDING, _PADDING_LIMIT)]
    if not words[0]:
        return None
    try:
        ends = [float(word) for word in words if word]
        slope, intercept = float(_value(about, _SLOPE) or 1), float(_value(about, _INTERCEPT) or 0)
    except ValueError:
        logger.warning("%s: padding value %r is no number; it is left aside", path, words)
        return None
    if _value(about, _SIGNED) == "1":  # written as unsigned by some
        ends = [end - 2**16 if end >= 2**15 else end for end in ends]
    scaled = sorted(slope * end + intercept for end in ends)
    return scaled[0], scaled[-1]


def _pixel_type(path: Path, name: str) -> np.dtype:
    """From SimpleITK's words, such as '16-bit signed integer', to a type."""
    bits, *words = name.split()
    kinds = {"signed": "i", "unsigned": "u", "float": "f"}
    if bits in ("8-bit", "16-bit", "32-bit", "64-bit") and words and words[0] in kinds:
        return np.dtype(f"{kinds[words[0]]}{int(bits.removesuffix('-bit')) // 8}")
    raise FileError(
        f"{path}: pixels of type {name!r}. Expected one real number each; hand in the original series."
    )


def _last_line(error: RuntimeError) -> str:
    return next(
        (line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason given"
    )
