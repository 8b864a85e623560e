"""A challenge is one YAML file: where cases are, what their labels mean, how systems are prompted and scored.

`load_challenge` reads it, `cases_of` finds its cases, `read_case` reads one on its reference grid.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import Field, PrivateAttr, field_validator

from sam_moe.cases.archives import read_array
from sam_moe.cases.dataset import IGNORE
from sam_moe.cases.parts import choose
from sam_moe.cases.reading import LABELS, read_image, read_labels
from sam_moe.cases.source import FoundCase, Labels, Source, printable
from sam_moe.cases.splits import data_folder
from sam_moe.config import Settings, load_settings, nearest_first
from sam_moe.errors import ConfigError, GeometryError
from sam_moe.evaluation.scoring.metrics import TOLERANCE_MM
from sam_moe.shapes import Bool
from sam_moe.space.grid import same_grid
from sam_moe.space.volume import Volume, resample_labels

log = logging.getLogger(__name__)


class Challenge(Settings):
    """A challenge's YAML; `load_challenge` also keeps the folders that its paths start from."""

    name: str = Field(min_length=1, description="Short name, such as sarcoma.")
    title: str = Field("", description="What a reader should know it as.")
    sets: tuple[Source, ...] = Field(min_length=1, description="Where the cases are.")
    labels: Labels = Field(
        min_length=1,
        description="Each structure's values in the label maps (added together), or their names in a set's "
        "own table; an empty list stands for the structure's own name.",
    )
    reference: str = Field(
        "", description="The series whose grid answers lie on, such as T1; empty for the first one."
    )
    protocol: str = Field("clicks", description="How systems are prompted: a named protocol.")
    nsd_tolerance_mm: float = Field(
        TOLERANCE_MM, gt=0, description="Tolerance of the normalised surface Dice."
    )
    least_voxels: int = Field(1, ge=1, description="Smaller targets are left out, with a remark.")
    seed: int = Field(0, ge=0, description="Seed of all that is drawn.")
    licence: str = Field("", description="Licences of the data.")
    attribution: str = Field("", description="The people to be named, and how.")

    _folder: Path = PrivateAttr(default_factory=Path)
    _data: Path = PrivateAttr(default_factory=Path)

    @field_validator("labels")
    @classmethod
    def _no_background(cls, labels: Labels) -> Labels:
        for name, values in labels.items():
            if any(isinstance(v, int) and v < 1 for v in values):
                raise ValueError(
                    f"{name}: values {list(values)}; a label's values are 1 or more, 0 is background"
                )
        return labels

    @property
    def data(self) -> Path:
        """The folder that the sets' roots are relative to."""
        return self._data

    @property
    def folder(self) -> Path:
        """The folder of the YAML file."""
        return self._folder

    def root_of(self, source: Source) -> Path:
        """Where a set lies: in the data folder, or beside the YAML file where its root begins with a dot."""
        return (self.folder if source.root.startswith(".") else self.data) / source.root


@dataclass(frozen=True)
class Case:
    """One scan, perhaps of several series, with its label map; `labels` are its structures' values there.

    `ignored` are the values of voxels that were not annotated: nnU-Net's label `ignore`. `names`: of a
    structure that is made of others of the set's own names, these names.
    """

    id: str
    patient: str
    images: Mapping[str, Path]
    reference: str
    truth: Path
    strata: Mapping[str, str]
    labels: Mapping[str, tuple[int, ...]]
    least_voxels: int = 1
    ignored: tuple[int, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_challenge(
    path: Path | str, data: Path | str | None = None, overrides: Sequence[str] = ()
) -> Challenge:
    """Read a challenge; its roots are relative to `data`, else to $SAM_MOE_DATA, else to the YAML's folder.

    Raises:
        ConfigError: naming file, key and remedy.
    """
    challenge = load_settings(Challenge, path, overrides)
    challenge._folder = Path(path).resolve().parent
    challenge._data = data_folder(data, challenge._folder)
    return challenge


def cases_of(challenge: Challenge) -> tuple[Case, ...]:
    """All cases of a challenge, in the order of its sets; none of their voxels is read.

    Raises:
        ConfigError: for a folder or table that is not as the challenge has it, a structure that no case
            knows, two cases of one name, or a patient in two parts of a set.
    """
    cases: list[Case] = []
    met: set[str] = set()
    known: set[str] = set()
    for source in challenge.sets:
        for found in choose(source, challenge.root_of(source), challenge.folder):
            known |= set(found.names) - {IGNORE}
            wanted = source.labels or challenge.labels
            labels = _labels_of(wanted, found)
            met |= set(labels)
            if not labels:
                log.info("%s: none of the challenge's structures; left out", found.case)
                continue
            case = _case(challenge, source, found, labels)
            cases.append(replace(case, names=_names_of(wanted)))
    never = [name for name in challenge.labels if name not in met]
    if never and cases:
        near = nearest_first(never[0], known)[:8]
        raise ConfigError(
            f"{challenge.name}: no case has the structure {never[0]}. Expected one of the sets' own names "
            f"({', '.join(near) or 'they have none'}) or values; mend `labels`."
        )
    if not cases:
        raise ConfigError(
            f"{challenge.name}: no cases found under {challenge.data}. Check sets, part and labels."
        )
    twice = [name for name, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{challenge.name}: {len(twice)} cases have one name, such as {min(twice)}. Give one of the sets "
            "a `prefix`."
        )
    return tuple(cases)


@dataclass(frozen=True)
class Opened:
    """A case that was read: its reference scan and, on the scan's grid, the truths.

    `ignored` is true where nothing was annotated, and no truth is; None where all of the scan was.
    """

    scan: Volume
    truths: Mapping[str, Volume]
    ignored: Bool[np.ndarray, "i j k"] | None = None


def open_case(case: Case) -> Opened:
    """The reference scan and, on its grid, a boolean mask of each structure that is there.

    A structure that is absent, or smaller than the challenge's `least_voxels`, is left out with a remark. A
    label map whose voxels are the scan's, in another order of its axes, is brought into the scan's order.

    Raises:
        FileError: for a file that cannot be read.
        GeometryError: for a label map that does not lie on the reference's grid.
    """
    scan = read_image(case.images[case.reference])
    truth = read_labels(case.truth, scan.grid)
    if not truth.grid.same_as(scan.grid) and truth.grid.same_places(scan.grid):
        truth = resample_labels(truth, scan.grid)  # to the bit: each centre is a voxel's centre
    try:
        same_grid(scan.grid, truth.grid)
    except GeometryError as error:
        raise GeometryError(f"{case.id}: {case.truth.name} and {case.reference}: {error}") from error
    ignored = np.isin(truth.array.numpy(), case.ignored) if case.ignored else None
    return Opened(scan, _masks(case, truth), ignored)


def read_case(case: Case) -> tuple[Volume, dict[str, Volume]]:
    """The scan and the truths of `open_case` alone."""
    opened = open_case(case)
    return opened.scan, dict(opened.truths)


def read_truths(case: Case) -> dict[str, Volume] | None:
    """The truths of `open_case` on the label map's own grid, for a case whose scan cannot be read.

    None where the label map cannot be read either, or is an archive without a spacing of its own.
    """
    try:
        if case.truth.suffix == ".npz" and read_array(case.truth, LABELS)[1] is None:
            return None
        return _masks(case, read_labels(case.truth))
    except Exception:  # a damaged file can raise whatever its bytes spell
        log.debug("%s cannot be read", case.truth, exc_info=True)
        return None


def _masks(case: Case, truth: Volume) -> dict[str, Volume]:
    masks = {}
    for name, values in case.labels.items():
        mask = truth.array == values[0]
        for value in values[1:]:
            mask |= truth.array == value
        voxels = int(mask.sum())
        if voxels < case.least_voxels:
            log.info("%s: %s has %d voxels and is left out", case.id, name, voxels)
            continue
        masks[name] = Volume(mask, truth.grid)
    return masks


def _labels_of(wanted: Labels, found: FoundCase) -> dict[str, tuple[int, ...]]:
    labels = {}
    ignored = set(found.names.get(IGNORE, ()))
    for structure, values in wanted.items():
        own = [found.names.get(v, ()) if isinstance(v, str) else (v,) for v in values or (structure,)]
        chosen = tuple(value for values in own for value in values)
        if ignored & set(chosen):
            raise ConfigError(
                f"{found.case}: {structure} has the value {min(ignored & set(chosen))}, which its set's "
                f"table calls {IGNORE!r}: voxels that were not annotated. Mend `labels`."
            )
        if chosen:
            labels[structure] = chosen
    return labels


def _names_of(wanted: Labels) -> dict[str, tuple[str, ...]]:
    """The set's own names of each structure that has some."""
    names = {label: tuple(v for v in values if isinstance(v, str)) for label, values in wanted.items()}
    return {label: own for label, own in names.items() if own}


def _case(
    challenge: Challenge, source: Source, found: FoundCase, labels: Mapping[str, tuple[int, ...]]
) -> Case:
    reference = challenge.reference or next(iter(found.images))
    if reference not in found.images:
        raise ConfigError(
            f"{challenge.name}: the case {found.case} has no series {reference!r}, only "
            f"{', '.join(found.images)}. Mend `reference`."
        )
    strata = {**source.fixed, **found.strata}
    for name, pattern in source.strata.items():
        match = re.search(pattern, found.case)
        strata[name] = match.group(1) if match else "other"
    return Case(
        id=printable(source.prefix + found.case),
        patient=printable(source.prefix + found.patient),
        images=dict(found.images),
        reference=reference,
        truth=found.truth,
        strata=strata,
        labels=dict(labels),
        least_voxels=challenge.least_voxels,
        ignored=tuple(found.names.get(IGNORE, ())),
    )
