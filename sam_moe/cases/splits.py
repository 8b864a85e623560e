"""The data folder, and which cases of its sets belong to which part: for training, evaluation, benchmarks.

A data folder holds sets (`dataset.py`), one folder each. A splits file is JSON,
`{"sets": {SET: {PART: [case, …]}}}`; a case that it does not name is in no part.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sam_moe.cases.dataset import DATASET, LabelledCase, read_dataset
from sam_moe.config import read_object
from sam_moe.errors import ConfigError

DATA = "SAM_MOE_DATA"

Parts = Mapping[str, Sequence[str]]


def data_folder(given: Path | str | None, otherwise: Path) -> Path:
    """The data folder: `given`, else the environment variable SAM_MOE_DATA, else `otherwise`."""
    return Path(given or os.environ.get(DATA) or otherwise).resolve()


def read_splits(path: Path) -> dict[str, Parts]:
    """The parts of each set by its name, each part a list of names of cases.

    Raises:
        ConfigError: for a file that cannot be read, or has no such table.
    """
    sets = read_object(path, ConfigError).get("sets")
    if not isinstance(sets, dict) or not all(_is_parts(parts) for parts in sets.values()):
        raise ConfigError(
            f"{path}: expected 'sets' with an entry for each set of lists of cases, "
            '{"SET": {"PART": ["CASE"]}}. Mend it, or name another splits file.'
        )
    return sets


def cases_of_part(folder: Path, splits: Path, part: str) -> list[tuple[str, LabelledCase]]:
    """The cases of one part in all sets of a splits file, each with its set's name; no scan is opened.

    Sets come in the order of their names, cases in the order of the splits file. A case may lack an image.

    Raises:
        ConfigError: for a splits file without this part, or one that names a set or a case that the data
            folder does not have.
    """
    found: list[tuple[str, LabelledCase]] = []
    for name, parts in sorted(read_splits(splits).items()):
        description = folder / name / DATASET
        if part not in parts:
            raise ConfigError(
                f"{splits}: expected an entry {part!r} in the set {name}, found: {', '.join(parts)}. Add it."
            )
        if not description.is_file():
            raise ConfigError(
                f"{splits} names the set {name}, but there is no {description}. Mend one of the two."
            )
        by_id = {case.id: case for case in read_dataset(folder / name, ConfigError)}
        for id in parts[part]:
            if id not in by_id:
                raise ConfigError(
                    f"{splits} names the case {id} of the set {name}, but {description} has none with this "
                    "id. Mend one of the two."
                )
            found.append((name, by_id[id]))
    return found


def _is_parts(parts: object) -> bool:
    return isinstance(parts, dict) and all(
        isinstance(cases, list) and all(isinstance(case, str) for case in cases) for cases in parts.values()
    )
