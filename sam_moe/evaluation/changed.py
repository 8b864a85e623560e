"""What a finished case was made of, so that one whose files changed since is asked about again."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from sam_moe.evaluation.casefile import case_path, read_casefile
from sam_moe.evaluation.challenge import Case
from sam_moe.evaluation.predictions import Given, own_table

log = logging.getLogger(__name__)


def made_of(case: Case, given: Given | None = None, resample: bool = False) -> str:
    """A digest of size and time of all files that a case's rows come from, and how masks were taken."""
    files = [*case.images.values(), case.truth, *([] if given is None else _masks(case, given))]
    seen = [(path.name, *_seen(path)) for path in files]
    return hashlib.sha256(json.dumps([seen, resample]).encode()).hexdigest()


def forget_changed(out: Path, made: Mapping[str, str]) -> list[str]:
    """Remove the files of finished cases that came from something else than `made` says; return which."""
    forgotten = []
    for case, digest in made.items():
        path = case_path(out, case)
        if path.is_file() and read_casefile(path).made_of != digest:
            log.info("%s: its scan, labels or mask changed; it is asked about again", case)
            path.unlink(missing_ok=True)
            forgotten.append(case)
    return forgotten


def _masks(case: Case, given: Given) -> Iterator[Path]:
    path = given.files.get(case.id)
    if path is not None and path.is_dir():
        yield from sorted(path.iterdir())
    elif path is not None:
        yield from (path, own_table(path))


def _seen(path: Path) -> tuple[int, int]:
    """Size and time; a file that is not there has neither."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
