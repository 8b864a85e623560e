"""Plain folders: images and label maps of the same names, with or without a `dataset.json` beside them."""

import logging
from pathlib import Path
from typing import Any

from sam_moe.errors import ConfigError
from sam_moe.evaluation.layouts.source import Found, Source, label_values, read_table, volumes_in

log = logging.getLogger(__name__)

DATASET = "dataset.json"


def find(source: Source, root: Path) -> list[Found]:
    """The cases that `dataset.json` lists, or else every pair of one name; a case without image is left out.

    `dataset.json`, where there is one, has `cases` (`id`, `image`, `label`, perhaps `patient`) and `labels`
    (name: id), or per case `label_names` (id: name).
    """
    description = root / DATASET
    if description.is_file():
        return _listed(description)
    images, truths = volumes_in(root / source.images), volumes_in(root / source.truths)
    alone = sorted(images.keys() ^ truths.keys())
    if alone:
        log.warning(
            "%s: %d files have no partner and are left out: %s", root, len(alone), ", ".join(alone[:5])
        )
    return [Found(name, {"image": images[name]}, truths[name]) for name in images if name in truths]


def _listed(description: Path) -> list[Found]:
    table, root = read_table(description), description.parent
    listed = table.get("cases")
    if not isinstance(listed, list):
        raise ConfigError(f"{description}: expected a list 'cases'. Add it, or remove the file.")
    found, bare = [], []
    for number, case in enumerate(listed):
        try:
            name, truth = str(case["id"]), root / str(case["label"])
            if "image" not in case:
                bare.append(name)
                continue
            image = root / str(case["image"])
            names = _names(description, table, case)
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{description}: cases[{number}]: expected 'id', 'image' and 'label'; add what is missing "
                f"({type(error).__name__}: {error})."
            ) from error
        found.append(Found(name, {"image": image}, truth, str(case.get("patient", "")), names=names))
    if bare:
        log.info("%s: %d cases have no image and are left out: %s", root, len(bare), ", ".join(bare[:5]))
    return found


def _names(description: Path, table: dict[str, Any], case: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    if case.get("label_names"):
        return label_values(description, case["label_names"])
    labels = table.get("labels")  # sometimes words for a reader
    return label_values(description, labels) if isinstance(labels, dict) else {}
