"""The Medical Segmentation Decathlon: `dataset.json` lists pairs of `imagesTr/x.nii.gz`, `labelsTr/x.nii.gz`.

Only training cases have labels, and so a part of their own, `train`; the test part is sealed. Where a task
has several modalities (brain tumours, prostate), they lie along the fourth axis of one file and become
series, `x.nii.gz#0` and so on (`reading.py`).
"""

import re
from pathlib import Path

from sam_moe.cases.source import FoundCase, Source, label_values, stem_of
from sam_moe.config import read_object
from sam_moe.errors import ConfigError

_NUMBER = re.compile("[0-9]{1,4}")


def find(source: Source, root: Path) -> list[FoundCase]:
    """The labelled cases, in the order of `dataset.json`.

    Raises:
        ConfigError: for a `dataset.json` that lists none, or names files that are not there.
    """
    description = root / "dataset.json"
    table = read_object(description, ConfigError)
    names = label_values(description, table.get("labels"))
    modalities = table.get("modality")
    if (
        not isinstance(modalities, dict)
        or not modalities
        or not all(_NUMBER.fullmatch(channel) for channel in modalities)
    ):
        raise ConfigError(f'{description}: expected "modality": {{"0": "MRI"}}. Add it.')
    listed = table.get("training")
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{description}: expected a list 'training' of images and labels. Add it.")
    found = []
    for number, pair in enumerate(listed):
        if not isinstance(pair, dict) or not {"image", "label"} <= pair.keys():
            raise ConfigError(f"{description}: training[{number}]: expected 'image' and 'label'. Add them.")
        image, truth = root / str(pair["image"]), root / str(pair["label"])
        missing = [path for path in (image, truth) if not path.is_file()]
        if missing:
            raise ConfigError(
                f"{description}: training[{number}]: no file {missing[0]}. Add it, or mend the list."
            )
        series = {
            str(name): image if len(modalities) == 1 else image.with_name(f"{image.name}#{channel}")
            for channel, name in modalities.items()
        }
        found.append(FoundCase(stem_of(image) or image.name, series, truth, part="train", names=names))
    return found
