"""A few labelled cases as a person has them: a set with its dataset.json, or just images/ and labels/."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from sam_moe.cases.dataset import read_dataset
from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.train_gate.regions import merge
from sam_moe.training.scans.cache import Scan, read_cache, write_cache
from sam_moe.training.scans.sources import read_case


def read_examples(folder: Path, structures: Sequence[str]) -> list[Scan]:
    """Read cases with one structure each, into which the labels that count are merged.

    Those labels count that are named as `structures`, without regard to case, hyphens and underscores; the
    only label, as of plain folders, whatever its name.

    Raises:
        ConfigError: for a folder without cases, without a label in them, or with several of other names.
    """
    cases = [case for case in read_dataset(folder, ConfigError) if case.image is not None]
    if not cases:
        raise ConfigError(f"{folder}: has no case with an image. Add images and labels of the same names.")
    found = [read for case in cases if (read := read_case(case, folder.resolve().name)) is not None]
    with tempfile.TemporaryDirectory() as work:
        write_cache(found, Path(work) / "scans.safetensors")
        scans = read_cache(Path(work) / "scans.safetensors")
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
    mine = [one for scan in scans if (one := merge(scan, {"example": own})).structures]
    if not mine:
        raise ConfigError(f"{folder}: no voxel of its cases is labelled. Expected labels other than 0.")
    return mine


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")
