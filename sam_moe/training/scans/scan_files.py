"""Whether scans are still those that a cache was read from: by content, read where size or time changed."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from sam_moe.cases.dataset import LabelledCase
from sam_moe.errors import ConfigError
from sam_moe.files import replace_text, sha256_of


def content_of(cases: Sequence[tuple[str, LabelledCase]], folder: Path, note: Path) -> str:
    """A checksum over the files of these cases, given with their sets, and over what their labels are called.

    Where `note` was written for files of the same sizes and times, it is taken from there; else the files are
    read, and the note is written. Where the folder lies, and when it was copied there, is not part of it.

    Raises:
        ConfigError: naming a file that is not there.
    """
    files = [file for _, case in cases for file in (case.image, case.label) if file is not None]
    named = [[group, case.id, {str(k): v for k, v in sorted(case.names.items())}] for group, case in cases]
    places = [file.relative_to(folder).as_posix() for file in files]
    try:
        stats = [file.stat() for file in files]
        times = [
            [place, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            for place, stat in zip(places, stats, strict=True)
        ]
        stamp = _digest([named, times])
        if (known := _noted(note, stamp)) is not None:
            return known
        content = _digest([named, *([place, sha256_of(f)] for place, f in zip(places, files, strict=True))])
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be read ({error.strerror}), though a dataset.json names it. Mend one "
            "of the two."
        ) from error
    replace_text(note, json.dumps({"stamp": stamp, "content": content}) + "\n")
    return content


def _noted(note: Path, stamp: str) -> str | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return str(known["content"]) if known["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or not whole: it only saves reading
        return None


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()
