"""A few labelled cases as a person has them: a set with its dataset.json, or just images/ and labels/."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam_moe.errors import ConfigError
from sam_moe.training.cache import Scan, read_cache, write_cache
from sam_moe.training.gate_regions import unite
from sam_moe.training.sources import read_folder

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def read_examples(folder: Path, structures: Sequence[str]) -> tuple[list[Scan], tuple[str, ...]]:
    """Read cases with one structure each, and the names of the labels that were united in it.

    Those labels count that are named as `structures`, without regard to case, hyphens and underscores; the
    only label, as of plain folders, whatever its name.

    Raises:
        ConfigError: for a folder without cases, without a label in them, or with several of other names.
    """
    folder = folder.resolve()
    dataset = _described(folder) if (folder / "dataset.json").is_file() else _paired(folder)
    cases = [case for case in dataset["cases"] if "image" in case]
    if not cases:
        raise ConfigError(f"{folder}: has no case with an image. Add images and labels of the same names.")
    with tempfile.TemporaryDirectory() as work:
        here = Path(work)
        (here / "set").mkdir()
        found = {**dataset, "cases": [_absolute(case, folder) for case in cases]}
        (here / "set" / "dataset.json").write_text(json.dumps(found), encoding="utf-8")
        splits = here / "splits.json"
        splits.write_text(json.dumps({"sets": {"set": {"train": [case["id"] for case in cases]}}}), "utf-8")
        write_cache(read_folder(here, splits, "train"), here / "scans.safetensors")
        scans = read_cache(here / "scans.safetensors")
    known = sorted({name for scan in scans for name in scan.structures.values()})
    wanted = {_plain(name) for name in structures}
    own = tuple(name for name in known if _plain(name) in wanted)
    if not own and len(known) > 1:
        raise ConfigError(
            f"{folder}: none of its labels is named as what the expert covers, {', '.join(structures)}: "
            f"found {', '.join(known[:12])}{', …' if len(known) > 12 else ''}. Name labels in the "
            "dataset.json as the expert's card does, or give labels that show its structure alone."
        )
    own = own or tuple(known)
    mine = [one for scan in scans if (one := unite(scan, {"example": own})).structures]
    if not mine:
        raise ConfigError(f"{folder}: no voxel of its cases is labelled. Expected labels other than 0.")
    return mine, own


def _described(folder: Path) -> dict[str, Any]:
    try:
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        assert all({"id", "label"} <= set(case) for case in dataset["cases"])
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise ConfigError(
            f"{folder / 'dataset.json'}: not readable as a set of cases ({error!r}). Expected 'cases' with "
            "'id', 'image' and 'label'; or remove it, to have images/ and labels/ paired by name."
        ) from error
    return dict(dataset)


def _paired(folder: Path) -> dict[str, Any]:
    images, labels = (_files(folder / name) for name in ("images", "labels"))
    if lacking := sorted(set(images) ^ set(labels)):
        raise ConfigError(
            f"{folder}: {', '.join(lacking[:5])}: only in one of images/ and labels/. "
            "Expected each case in both under the same name."
        )
    return {
        "cases": [{"id": id, "image": str(images[id]), "label": str(labels[id])} for id in sorted(images)]
    }


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder. Expected examples as a folder with a dataset.json, or with images/ "
            "and labels/."
        )
    found = {}
    for path in sorted(folder.iterdir()):
        ending = next((end for end in _ENDINGS if path.name.endswith(end)), None)
        if ending is not None:
            found[path.name.removesuffix(ending)] = path
    return found


def _absolute(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**case, "image": str(folder / case["image"]), "label": str(folder / case["label"])}


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")
