"""Plain folders: images and label maps of the same names, with or without a `dataset.json` beside them."""

import logging
from pathlib import Path

from sam_moe.cases.dataset import DATASET, read_dataset
from sam_moe.cases.source import FoundCase, Source, volumes_in
from sam_moe.errors import ConfigError

log = logging.getLogger(__name__)


def find(source: Source, root: Path) -> list[FoundCase]:
    """The cases that `dataset.json` lists, or else every pair of one name; a case without image is left out.

    `cases/dataset.py` has what a `dataset.json` holds.
    """
    if (root / DATASET).is_file():
        return _listed(root)
    images, truths = volumes_in(root / source.images), volumes_in(root / source.truths)
    alone = sorted(images.keys() ^ truths.keys())
    if alone:
        log.warning(
            "%s: %d files have no partner and are left out: %s", root, len(alone), ", ".join(alone[:5])
        )
    return [FoundCase(name, {"image": images[name]}, truths[name]) for name in images if name in truths]


def _listed(root: Path) -> list[FoundCase]:
    found, bare = [], []
    for case in read_dataset(root, ConfigError):
        if case.image is None:
            bare.append(case.id)
            continue
        names: dict[str, tuple[int, ...]] = {}
        for value, name in case.names.items():
            if value > 0:  # 0 is background
                names[name] = (*names.get(name, ()), value)
        found.append(FoundCase(case.id, {"image": case.image}, case.label, case.patient, names=names))
    if bare:
        log.info("%s: %d cases have no image and are left out: %s", root, len(bare), ", ".join(bare[:5]))
    return found
