"""The chosen part of a source, each case with its patient, and no patient in two parts."""

import re
from dataclasses import replace
from pathlib import Path

from sam_moe.cases.source import LAYOUTS, FoundCase, Source
from sam_moe.cases.splits import DATA, read_splits
from sam_moe.config import nearest_first
from sam_moe.errors import ConfigError


def choose(source: Source, root: Path, folder: Path) -> list[FoundCase]:
    """What the layout finds under `root` in the part that the source names; splits lie relative to `folder`.

    Raises:
        ConfigError: for a folder, part or case that is not there, or a patient in two parts.
    """
    if not root.is_dir():
        raise ConfigError(
            f"no folder {root}. Expected the set {source.root!r} in the data folder; give that with --data "
            f"or ${DATA}."
        )
    everything = LAYOUTS.load(source.layout)(source, root)
    if source.splits:
        everything = _split(folder / source.splits, source, everything)
    everything = [replace(found, patient=_patient(source, found)) for found in everything]
    _one_part_a_patient(source, everything)
    parts = sorted({found.part for found in everything} - {""})
    if source.part and source.part not in parts:
        raise ConfigError(
            f"{source.root}: no cases in the part {source.part!r}. Expected one of: "
            f"{', '.join(parts) or 'none, this layout knows no parts; give `splits`'}."
        )
    chosen = [found for found in everything if not source.part or found.part == source.part]
    missing = set(source.cases) - {found.case for found in chosen}
    if missing:
        near = nearest_first(min(missing), [found.case for found in chosen])[:3]
        raise ConfigError(
            f"{source.root}: no case {min(missing)!r} in this part; nearest: {', '.join(near)}. Mend `cases`."
        )
    return [found for found in chosen if not source.cases or found.case in source.cases]


def _split(path: Path, source: Source, everything: list[FoundCase]) -> list[FoundCase]:
    """The cases that a splits file names, each in its part."""
    name = Path(source.root).name
    parts = read_splits(path).get(name)
    if parts is None:
        raise ConfigError(
            f"{path}: expected 'sets' with an entry {name!r} of lists of cases. Add it, or name another "
            "splits file."
        )
    by_name = {found.case: found for found in everything}
    missing = [case for case in parts.get(source.part, []) if case not in by_name]
    if missing:
        raise ConfigError(
            f"{path}: names the case {missing[0]}, but {source.root} has none of this name with an image and "
            "a label map. Mend one of the two."
        )
    return [
        replace(by_name[case], part=part)
        for part, cases in parts.items()
        for case in cases
        if case in by_name
    ]


def _one_part_a_patient(source: Source, everything: list[FoundCase]) -> None:
    where: dict[str, FoundCase] = {}
    for found in everything:
        other = where.setdefault(found.patient, found)
        if other.part != found.part:
            raise ConfigError(
                f"{source.root}: the patient {found.patient} is in two parts, {other.case} in {other.part!r} "
                f"and {found.case} in {found.part!r}. Expected all scans of a patient in one part; split by "
                "patient."
            )


def _patient(source: Source, found: FoundCase) -> str:
    if not source.patient:
        return found.patient or found.case
    match = re.search(source.patient, found.case)
    if match is None:
        raise ConfigError(
            f"{source.root}: the case {found.case} does not match patient: {source.patient!r}. Mend the "
            "expression."
        )
    return match.group(1)
