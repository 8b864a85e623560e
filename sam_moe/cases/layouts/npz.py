"""Archives of the CVPR 2025 interactive segmentation challenge: `imgs` and `gts` (D, H, W), `spacing`.

Read in its evaluation script (JunMa11/CVPR-MedSegFMCompetition). Training cases hold `gts` themselves; those
of validation have it in a second folder, under the same name. Its boxes and clicks are pickled objects, which
could run any program, and are not read: the protocol makes its own.
"""

from pathlib import Path

from sam_moe.cases.source import FoundCase, Source, entries
from sam_moe.errors import ConfigError


def find(source: Source, root: Path) -> list[FoundCase]:
    """The archives of the folder `images` (or of the root, where there is none), in order of their names.

    Their labels are taken from the folder `truths` where it exists, from the same archive otherwise.

    Raises:
        ConfigError: for a folder without archives, or an archive without its partner.
    """
    images = root / source.images if (root / source.images).is_dir() else root
    truths = root / source.truths if (root / source.truths).is_dir() else images
    archives = [path for path in entries(images) if path.suffix == ".npz" and path.is_file()]
    if not archives:
        raise ConfigError(f"{images}: no .npz files. Expected one for each case; check root and `images`.")
    missing = [path.name for path in archives if not (truths / path.name).is_file()]
    if missing:
        raise ConfigError(
            f"{truths}: no labels for {len(missing)} cases, such as {missing[0]}. Expected an archive with "
            "`gts` of the same name; check `truths`."
        )
    return [FoundCase(path.stem, {"image": path}, truths / path.name) for path in archives]
