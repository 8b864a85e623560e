"""Masks made elsewhere: every case gets its rows, every bad file a row with what is wrong with it.

A folder holds one file a case, `CASE.nii.gz` (or .nii, .nrrd, .mha, or .npz with `segs`): a label map with
the values that the case's truth has, or with a `CASE.labels.json` beside it that names its own; or a folder a
case, `CASE/STRUCTURE.nii.gz`, of masks of 0 and 1.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sam_moe.cases.reading import read_labels
from sam_moe.cases.source import entries, label_values, printable, stem_of, volumes_in
from sam_moe.config import read_object
from sam_moe.errors import ConfigError, FileError, SamMoeError, ValuesError
from sam_moe.evaluation.challenge.challenge import Case, Opened
from sam_moe.evaluation.results import GIVEN, Row, Status
from sam_moe.evaluation.scoring.metrics import TOLERANCE_MM, Mask
from sam_moe.evaluation.scoring.scores import score, worst
from sam_moe.files import in_words, sha256_of, shown
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample_labels

log = logging.getLogger(__name__)

# Headers of other tools round origins and directions; farther apart is another grid.
TOLERANCE_VOXELS = 0.01


@dataclass(frozen=True)
class GivenMasks:
    """A folder of predictions, sorted: what belongs to which case, and what to none."""

    folder: Path
    files: Mapping[str, Path]
    extra: tuple[Path, ...]


class _Refused(Exception):
    """What is wrong with a prediction, in the words of its row."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


def match(cases: Sequence[Case], folder: Path) -> GivenMasks:
    """Find the file or folder of each case; cases without one are not in `files`.

    Raises:
        ConfigError: where the folder is missing, nothing in it belongs to a case, or a case has two files.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Expected one with a mask for each case.")
    known = {case.id for case in cases}
    files: dict[str, Path] = {}
    extra = []
    # nnU-Net leaves CASE.npz with probabilities beside CASE.nii.gz: volumes come first
    for path in sorted(entries(folder), key=lambda path: path.suffix == ".npz"):
        name = path.name if path.is_dir() else path.stem if path.suffix == ".npz" else stem_of(path)
        if name is None:
            continue
        name = printable(name)
        if name not in known:
            extra.append(path)
        elif name in files and path.suffix == ".npz" and files[name].is_file():
            log.info("%s: %s is there too and is taken", path, files[name].name)
        elif name in files:
            raise ConfigError(
                f"{folder}: the case {name} has both {files[name].name} and {path.name}. Expected one; "
                "remove the other."
            )
        else:
            files[name] = path
    if not files:
        raise ConfigError(
            f"{folder}: none of its {len(extra)} masks is named after one of the {len(known)} cases, such as "
            f"{min(known)}. Rename them to CASE.nii.gz."
        )
    return GivenMasks(folder, files, tuple(extra))


def checksum(given: GivenMasks) -> str:
    """The SHA-256 over all that is scored, with its names: other masks are another evaluation."""
    found = hashlib.sha256()
    for path in (*given.files.values(), *given.extra):
        for part in parts_of(path):
            found.update(f"{path.name}/{part.name}/{checksum_of(part)}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def parts_of(path: Path) -> list[Path]:
    """The files of a prediction: a label map with its own table, or a folder's masks."""
    try:
        parts = sorted(path.iterdir()) if path.is_dir() else [path, own_table(path)]
        return [part for part in parts if part.is_file()]
    except OSError:  # a closed folder: its rows will have that
        return []


def checksum_of(path: Path) -> str:
    """A file's SHA-256, or that it cannot be read, as its row will have it."""
    try:
        return sha256_of(path)
    except FileError:
        return "unreadable"


def score_given(
    case: Case,
    opened: Opened,
    path: Path | None,
    system: str,
    tolerance_mm: float = TOLERANCE_MM,
    resample: bool = False,
) -> list[Row]:
    """One row for each structure of the case, whatever the prediction is worth; no `path`: there is none.

    A mask whose voxels are the case's in another order of axes is brought into its order. With `resample` a
    mask on another grid is taken to the case's by the nearest voxel, as its rows note. Nothing counts
    where the case was not annotated.
    """
    rows: list[Row] = []
    truths = opened.truths
    if not truths:
        return rows
    answers: Mapping[str, tuple[Mask, str] | _Refused] = (
        {name: _Refused("missing", "no file of this case") for name in truths}
        if path is None
        else _answers(case, path, truths, resample)
    )
    for name, truth in truths.items():
        spacing_mm, mask = truth.grid.spacing_mm, truth.array.numpy()
        answer = answers[name]
        if isinstance(answer, _Refused):
            scores = worst(mask, spacing_mm, answer.status, answer.reason)
        else:
            judged = answer[0] if opened.ignored is None else answer[0] & ~opened.ignored
            scores = score(mask, judged, spacing_mm, tolerance_mm)
            scores["reason"] = "; ".join(filter(None, (scores["reason"], answer[1])))
        rows.append(
            Row(
                system=system,
                case=case.id,
                patient=case.patient,
                label=name,
                strata=dict(case.strata),
                prompt=GIVEN,
                step=0,
                **scores,
            )
        )
    return rows


def extra_rows(given: GivenMasks, system: str) -> list[Row]:
    """One row for each file that belongs to no case; it is listed and counts for nothing."""
    return [
        Row(
            system=system,
            case=shown(path.name),
            patient="",
            label="",
            prompt=GIVEN,
            step=0,
            status="extra",
            reason="belongs to no case of the challenge",
            dice=0,
            nsd=0,
            vs=0,
            hd95_mm=0,
            volume_error_ml=0,
            truth_ml=0,
            predicted_ml=0,
        )
        for path in given.extra
    ]


def _answers(
    case: Case, path: Path, truths: Mapping[str, Volume], resample: bool
) -> dict[str, tuple[Mask, str] | _Refused]:
    """The mask of each structure with a remark, or why there is none."""
    found: dict[str, tuple[Mask, str] | _Refused] = {}
    if not path.is_dir():
        try:
            grid = next(iter(truths.values())).grid
            array, remark = _label_map(path, grid, resample)
            values = _values(path, case)
            own = values is not case.labels
            _expected(path, array, {v for group in values.values() for v in group}, None if own else case)
        except _Refused as refused:
            return dict.fromkeys(truths, refused)
        for name in truths:
            found[name] = _Refused("missing", f"{path.name}: its table of labels does not name {name}")
            if name in values:
                found[name] = (np.isin(array, values[name]), remark)
        return found
    try:
        files = volumes_in(path)
    except ConfigError as error:
        return dict.fromkeys(truths, _Refused("unreadable", _reason(path, error)))
    for name, truth in truths.items():
        try:
            if name not in files:
                raise _Refused("missing", f"no file {path.name}/{name}")
            array, remark = _label_map(files[name], truth.grid, resample)
            _expected(files[name], array, {1})
            found[name] = (array == 1, remark)
        except _Refused as refused:
            found[name] = refused
    return found


def _label_map(path: Path, grid: Grid, resample: bool) -> tuple[np.ndarray, str]:
    """The numbers of a label map on the case's grid, and a remark where they were brought there."""
    try:
        volume = read_labels(path, grid, key="segs")
    except ValuesError as error:
        raise _Refused("bad_values", _reason(path, error)) from error
    except SamMoeError as error:
        raise _Refused("unreadable", _reason(path, error)) from error
    except Exception as error:  # a damaged file can raise whatever its bytes spell
        log.debug("%s cannot be read", path, exc_info=True)
        raise _Refused("unreadable", f"{path.name}: {in_words(error)}") from error
    if volume.grid.same_as(grid, TOLERANCE_VOXELS):
        return volume.array.numpy(), ""
    if volume.grid.same_places(grid, TOLERANCE_VOXELS):
        return resample_labels(volume, grid).array.numpy(), ""
    where = f"{path.name}: it lies on {volume.grid}, the case on {grid}"
    if not resample:
        raise _Refused("wrong_grid", f"{where}. Expected the case's grid; resample it, or allow --resample.")
    return resample_labels(volume, grid).array.numpy(), f"resampled (nearest): {where}"


def own_table(path: Path) -> Path:
    """Where a label map's own names of its values would lie."""
    return path.with_name(f"{stem_of(path) or path.stem}.labels.json")


def _values(path: Path, case: Case) -> Mapping[str, tuple[int, ...]]:
    """What each structure's values are in this file: its own table's, or those of the case."""
    table = own_table(path)
    if not table.is_file():
        return case.labels
    try:
        return label_values(table, read_object(table, ConfigError))
    except SamMoeError as error:
        raise _Refused("unreadable", _reason(table, error)) from error


def _reason(path: Path, error: Exception) -> str:
    """An error's words with the file's name alone: rows travel, a machine's folders do not."""
    return str(error).replace(f"{path.parent}/", "")


def _expected(path: Path, array: np.ndarray, values: set[int], case: Case | None = None) -> None:
    """Refuse numbers that stand for nothing here; in `case`'s map others may stand that are not scored."""
    strange = [number for number in _numbers(array) if number != 0 and number not in values]
    if strange and case is not None:
        there = set(_numbers(read_labels(case.truth).array.numpy()))
        strange = [number for number in strange if number not in there]
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (" …" if len(strange) > 5 else "")
        raise _Refused(
            "unexpected_label",
            f"{path.name}: has values {shown}. Expected 0 and {', '.join(map(str, sorted(values)))}; "
            "renumber them.",
        )


def _numbers(array: np.ndarray) -> list[int]:
    return [int(number) for number in torch.unique(torch.from_numpy(array)).tolist()]
