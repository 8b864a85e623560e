"""What a finished case was made of, so that one whose files changed since is run again."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from sam_moe.errors import SamMoeError
from sam_moe.evaluation.asking.casefile import case_path, read_casefile
from sam_moe.evaluation.asking.predictions import GivenMasks, checksum_of, parts_of
from sam_moe.evaluation.challenge.challenge import Case
from sam_moe.files import shown

log = logging.getLogger(__name__)


def made_of(case: Case, given: GivenMasks | None = None, resample: bool = False) -> str:
    """A digest of all that a case's rows come from: the contents of its files, and what is known of it.

    Sizes and times would miss what is copied or unpacked with an older time, and a volume without compression
    has one size whatever its voxels are. An unreadable file is like no other that can be read.
    """
    mask = None if given is None else given.files.get(case.id)
    files = [*case.images.values(), case.truth]
    seen = [(path.name, _content(path)) for path in files]
    masks = [] if mask is None else [(path.name, checksum_of(path)) for path in parts_of(mask)]
    known = {
        "id": case.id,
        "patient": case.patient,
        "reference": case.reference,
        "series": list(case.images),
        "strata": dict(case.strata),
        "labels": {name: list(values) for name, values in case.labels.items()},
        "least_voxels": case.least_voxels,
        "ignored": list(case.ignored),
    }
    return hashlib.sha256(json.dumps([known, seen, masks, resample]).encode()).hexdigest()


def changed(out: Path, made: Mapping[str, str]) -> list[str]:
    """The finished cases that came from something else than `made` has, or whose file cannot be read."""
    found = []
    for case, digest in made.items():
        path = case_path(out, case)
        if not path.is_file():
            continue
        try:
            same = read_casefile(path).made_of == digest
        except SamMoeError as error:
            log.warning("%s; the case is run again", error)
            same = False
        if not same:
            log.info("%s: its scan, labels or mask changed; it is run again", shown(case))
            found.append(case)
    return found


def _content(path: Path) -> str:
    """The digest of a file, of a channel's whole file, or of all files of a folder."""
    file = path.with_name(path.name.rpartition("#")[0]) if "#" in path.name and not path.exists() else path
    if file.is_dir():
        return json.dumps(
            [(part.name, checksum_of(part)) for part in sorted(file.iterdir()) if part.is_file()]
        )
    return checksum_of(file) if file.is_file() else "missing"
