"""The scans of one run and where their masks go: the cases of a prompt file, or all scans of folders."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sam_moe.errors import FileError
from sam_moe.ownership import is_folder, is_same, is_there
from sam_moe.predict.files.automatic import AutomaticRequest
from sam_moe.predict.files.manifest import as_text, read_prompts, read_record
from sam_moe.predict.files.prompted import PromptedRequest
from sam_moe.predict.files.request import Asked
from sam_moe.space.files import holds_dicom, record_beside
from sam_moe.space.naming import SUFFIXES

SUFFIX = ".nii.gz"
_SCANS = (*SUFFIXES, ".dcm", ".ima")
_NAMED = "Expected the name of a file or folder; of a folder, name it from the one above."


def prompted(
    scans: Path, prompts: Path, out: Path, command: tuple[str, ...] = (), *, force: bool = False
) -> list[PromptedRequest]:
    """One request for each case of a prompt file; masks lie in `out` as their scans lie beside each other.

    A scan is looked for in `scans` under the name that the file gives it, then beside the file. A case that
    cannot be written, for its name or because another case would write the same mask or is a scan of that
    name, is a request that fails.

    Raises:
        FileError: where `out` is no folder.
        PromptError: for a bad prompt file.
    """
    _check_folder(out)
    found = []
    for case in read_prompts(prompts).cases:
        here = scans / case.image
        scan = here if _place(here) else prompts.parent / case.image
        name = _mask_name(case.image)
        wrong = "" if name else f"{prompts}: image {case.image!r}: no mask can be named after it. {_NAMED}"
        asked = PromptedRequest(scan, out / (name or ""), None, command, force, wrong, None, prompts, case)
        found.append(asked)
    remedy = (
        "Expected one case a scan; join their targets, or put them into two files and write to two folders."
    )
    return _without_collisions(found, remedy)


def automatic(
    scans: Sequence[Path],
    out: Path,
    as_set: str | None = None,
    command: tuple[str, ...] = (),
    *,
    force: bool = False,
) -> list[AutomaticRequest]:
    """One request for each scan: a file, a folder of one DICOM series, or each scan in a folder of several.

    Labels lie in `out`: those of a folder's scans as these lie in it, subfolders included, those of a file
    under its name. Labels that we wrote, what lies in `out` and hidden files are no scans. A scan that
    cannot be written, because another would write the same file or is of that name, is a request that fails.

    Raises:
        FileError: where `out` is no folder, or a folder has no scan.
    """
    _check_folder(out)
    found = []
    for given in scans:
        for scan, image in _scans_in(given, out) if is_folder(given) else [(given, given.name)]:
            name = _mask_name(image)
            wrong = "" if name else f"{scan}: no labels can be named after it. {_NAMED}"
            found.append(AutomaticRequest(scan, out / (name or ""), None, command, force, wrong, as_set))
    remedy = "Expected one name a scan; rename one, or write to two folders."
    return _without_collisions(found, remedy)


def _scans_in(folder: Path, out: Path) -> list[tuple[Path, str]]:
    """The scans of a folder, each with its name from there."""
    found = [(scan, _name_in(scan, folder)) for scan in _walk(folder, out)]
    if not found:
        raise FileError(
            f"{folder}: no scans in this folder. Expected {', '.join(SUFFIXES)}, or folders of DICOM files."
        )
    return found


def _name_in(scan: Path, folder: Path) -> str:
    """A scan's name from a folder; that of a folder itself, which is a series, is its own."""
    return folder.resolve().name if scan == folder else scan.relative_to(folder).as_posix()


def _walk(folder: Path, out: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        inside = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in inside if not is_same(here / name, out)]
        if holds_dicom(here):
            yield here
        for name in sorted(files):
            path = here / name
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and not _is_ours(path):
                yield path


def _is_ours(path: Path) -> bool:
    """Whether a run record beside a file calls it its mask."""
    record = record_beside(path)
    if not record.is_file():
        return False
    try:
        return read_record(record).mask == as_text(path.name)
    except FileError:  # a record of something else
        return False


def _check_folder(out: Path) -> None:
    if is_there(out) and not is_folder(out):
        raise FileError(
            f"{out}: is a file. Expected a folder for the masks of many scans; choose another name."
        )


def _without_collisions(wanted: Iterable[Asked], remedy: str) -> list[Asked]:
    """The same, those that would write one mask, or over a scan of the run, as requests that fail."""
    wanted = list(wanted)
    count = Counter(request.out for request in wanted if not request.wrong)
    read = {_place(request.scan) for request in wanted}
    found = []
    for request in wanted:
        wrong, place = request.wrong, _place(request.out)
        if not wrong and count[request.out] > 1:
            wrong = f"{request.scan}: {count[request.out]} cases would write {request.out}. {remedy}"
        elif not wrong and place is not None and place in read:
            wrong = f"{request.out}: is the scan of a case, which is left as it is. Choose another --out."
        found.append(replace(request, wrong=wrong))
    return found


def _place(path: Path) -> tuple[int, int] | None:
    """Where a file is on its disk, by whatever name it is reached; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _mask_name(image: str) -> Path | None:
    """The image's own path below its folder, whatever led up and out of there, with a mask's suffix."""
    parts = PurePosixPath(image).parts
    if not parts or parts[-1] in ("..", ".") or "\0" in image:
        return None
    *folders, name = [part for part in parts if part not in ("..", ".")]
    for suffix in _SCANS:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return Path(*folders, name + SUFFIX)
