"""nnU-Net's raw data sets: `imagesTr/CASE_0000.nii.gz` one file a channel, `labelsTr/CASE.nii.gz`.

Read in nnU-Net's documentation of its format, versions 1 and 2. `imagesTr` is the part `train`, `imagesTs`
with a `labelsTs` beside it the part `test`; test images without labels are no cases.
"""

import logging
import re
from pathlib import Path
from typing import Any

from sam_moe.cases.source import FoundCase, Source, label_values, volumes_in
from sam_moe.config import read_object
from sam_moe.errors import ConfigError

log = logging.getLogger(__name__)

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>[0-9]{4})")
_NUMBER = re.compile("[0-9]{1,4}")


def find(source: Source, root: Path) -> list[FoundCase]:
    """The labelled cases, each channel a series of the name that `dataset.json` gives it.

    Raises:
        ConfigError: for a data set without training folder or `dataset.json`, or a case without one of its
            channels.
    """
    description = root / "dataset.json"
    table = read_object(description, ConfigError)
    channels = _channels(description, table)
    names = label_values(description, table.get("labels"))
    found = _part(root, "Tr", "train", channels, names)
    if (root / "labelsTs").is_dir():
        found += _part(root, "Ts", "test", channels, names)
    return found


def _part(
    root: Path, ending: str, part: str, channels: dict[int, str], names: dict[str, tuple[int, ...]]
) -> list[FoundCase]:
    truths = volumes_in(root / f"labels{ending}")
    images: dict[str, dict[int, Path]] = {}
    for stem, path in volumes_in(root / f"images{ending}").items():
        match = _CHANNEL.fullmatch(stem)
        if match is None:
            raise ConfigError(
                f"{path}: no channel in its name. Expected CASE_0000 and so on, as nnU-Net names images; "
                "rename it."
            )
        images.setdefault(match["case"], {})[int(match["number"])] = path
    alone = sorted(images.keys() ^ truths.keys())
    if alone:
        log.warning(
            "%s: %d cases of %s lack image or labels and are left out: %s",
            root,
            len(alone),
            part,
            ", ".join(alone[:5]),
        )
    found = []
    for case in sorted(images.keys() & truths.keys()):
        missing = [f"{case}_{number:04d}" for number in channels if number not in images[case]]
        if missing:
            raise ConfigError(
                f"{root}: {missing[0]} is missing in images{ending}. Expected one file for each of the "
                f"{len(channels)} channels; add it, or remove the case."
            )
        series = {name: images[case][number] for number, name in channels.items()}
        found.append(FoundCase(case, series, truths[case], part=part, names=names))
    return found


def _channels(path: Path, table: dict[str, Any]) -> dict[int, str]:
    """Names of the channels by number, those of one name kept apart by it; version 1 calls them modality."""
    given = table.get("channel_names", table.get("modality"))
    if not isinstance(given, dict) or not given or not all(_NUMBER.fullmatch(number) for number in given):
        raise ConfigError(f'{path}: expected "channel_names": {{"0": "T1"}}. Add them.')
    names = [str(name) for name in given.values()]
    return {
        int(number): str(name) if names.count(str(name)) == 1 else f"{name}_{number}"
        for number, name in sorted(given.items(), key=lambda item: int(item[0]))
    }
