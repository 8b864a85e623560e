"""The SPPIN 2023 challenge: `PT_<patient>/<time point>/` with T1, T2, DWI b0, b100 and a segmentation on T1.

What is known: the four series, that they are not registered, that the answer lies on T1's grid (its example
submission); `PT_<patient>/<date>/DWI_b100` (its curation script); a T1's name in the test phase, whose second
and fifth parts between underscores make the case's id (its evaluation script, `container.py`). The data come
only under an agreement, and how the other files are called was not found: here a series is the one file whose
name has T1, T2, b0 or b100 as a word, the truth the one that speaks of a segmentation, mask or label.
"""

import re
from pathlib import Path

from sam_moe.cases.source import FoundCase, Source, entries, volumes_in
from sam_moe.errors import ConfigError

SERIES = ("T1", "T2", "b0", "b100")
TRUTH = "segmentation"
_PATIENT = re.compile(r"PT_?0*(\d+)", re.IGNORECASE)
_TRUTH = re.compile(r"seg|mask|label|annotation|ground.?truth|(?<![a-z])gt(?![a-z])|tumou?r", re.IGNORECASE)
_TIMES = ("first", "later")


def find(source: Source, root: Path) -> list[FoundCase]:
    """One case a scan set, `<patient>_<time point>`, its stratum `time` either first or later.

    The first is most often the one at diagnosis, later ones follow chemotherapy; no name shows it.

    Raises:
        ConfigError: for a root without patients, or a scan set in which a series is missing or found twice.
    """
    patients = [path for path in entries(root) if path.is_dir() and _PATIENT.fullmatch(path.name)]
    if not patients:
        raise ConfigError(f"{root}: no folders PT_<number>. Expected one for each patient; check the root.")
    found = []
    for patient in patients:
        times = [path for path in entries(patient) if path.is_dir()]
        if not times:
            raise ConfigError(
                f"{patient}: no scan sets. Expected a folder for each time point; check how the data were "
                "unpacked."
            )
        for number, folder in enumerate(times):
            series, truth = _scan_set(folder)
            found.append(
                FoundCase(
                    f"{patient.name}_{folder.name}",
                    series,
                    truth,
                    patient=patient.name,
                    names={"neuroblastoma": (1,)},
                    strata={"time": _TIMES[min(number, 1)]},
                )
            )
    return found


def _scan_set(folder: Path) -> tuple[dict[str, Path], Path]:
    volumes = volumes_in(folder)
    truths = [path for name, path in volumes.items() if _TRUTH.search(name)]
    images = {name: path for name, path in volumes.items() if path not in truths}
    series = {name: _only(folder, name, [p for n, p in images.items() if _word(name, n)]) for name in SERIES}
    return series, _only(folder, TRUTH, truths)


def _word(series: str, name: str) -> bool:
    """Whether a series is named as a word of its own: b0 is not in b100, T1 not in PT10."""
    return re.search(rf"(?<![a-z0-9]){series}(?![a-z0-9])", name.replace("_", " "), re.IGNORECASE) is not None


def _only(folder: Path, what: str, paths: list[Path]) -> Path:
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise ConfigError(
            f"{folder}: expected one file for {what}, found {names}. Rename or remove files, so that each of "
            f"{', '.join(SERIES)} and {TRUTH} is there once."
        )
    return paths[0]
