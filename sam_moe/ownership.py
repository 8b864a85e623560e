"""Whose a file is: nothing that the package did not write is replaced, unless that is asked for by --force.

A file is ours where it bears a mark of ours: a checksum that a run record names, the generator of a page or a
picture, the columns of a table, the keys of a record. What cannot be read is not ours.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.files import open_file, read_bytes, sha256_of, shown

GENERATOR = "sam-moe"

Test = Callable[[Path], bool]

_PNG = b"\x89PNG\r\n\x1a\n"
_MARK = b"Software\0" + GENERATOR.encode()
_HEAD = 4096  # bytes at a file's start in which its mark is looked for


def check_ours(path: Path, ours: Test, *, force: bool = False) -> None:
    """Refuse to replace what is not ours, unless `force` is set; a free name is always fine.

    Raises:
        FileError: naming the file and --force; for what is no ordinary file with `force`, too.
    """
    if not os.path.lexists(path):
        return
    if is_folder(path):
        raise FileError(f"{shown(path)}: this is a folder. Expected the name of a file; choose another name.")
    if not force and not is_ours(path, ours):
        raise FileError(
            f"{shown(path)}: is there already, and sam-moe did not write it. Expected a free name, or a file "
            "that an earlier run wrote and nothing has changed since; choose another name, or replace it "
            "with --force."
        )


def check_folder(
    folder: Path, files: Mapping[str, Test], inputs: Iterable[Path] = (), *, force: bool = False
) -> None:
    """Refuse to write these files into a folder where one of that name is not ours, or was read.

    Raises:
        FileError: as `check_ours`; for inputs, `force` or not.
    """
    for name, ours in files.items():
        check_not_read(folder / name, inputs)
        check_ours(folder / name, ours, force=force)


def check_not_read(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, by whatever name it is reached.

    Raises:
        FileError: naming both.
    """
    for source in inputs:
        if is_same(path, source):
            raise FileError(
                f"{shown(path)}: is {shown(source)}, which is read. Expected another file to write to; "
                "choose another name."
            )


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file: equal, or by links, or in letters that the file system joins."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there yet
        return one.absolute() == other.absolute()


def is_there(path: Path) -> bool:
    """Whether a path leads to something; of a name that no file can have it does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; of a name that no file can have it does not."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_ours(path: Path, ours: Test) -> bool:
    """Whether a file bears our mark; what cannot be read does not."""
    try:
        return ours(path)
    except (FileError, ValueError, RecursionError):
        return False


def sha256_or_none(path: Path) -> str | None:
    """The SHA-256 of a file; None where there is no file that can be read."""
    try:
        return sha256_of(path)
    except FileError:
        return None


def picture(path: Path) -> bool:
    """Whether a PNG names us as the software that made it."""
    head = _head(path)
    return head.startswith(_PNG) and _MARK in head


def page(path: Path) -> bool:
    """Whether an HTML page names us as its generator."""
    return f'name="generator" content="{GENERATOR}'.encode() in _head(path)


def table(*columns: str) -> Test:
    """A test for a CSV file whose first columns are these."""
    return partial(_is_table, ",".join(columns).encode())


def record(*keys: str) -> Test:
    """A test for a JSON file that holds an object with all of these keys."""
    return partial(_is_record, frozenset(keys))


def recorded_prompts(path: Path) -> bool:
    """Whether a prompt file was written by an evaluation or by `sam-moe simulate`, and not by hand."""
    found = json.loads(read_bytes(path))
    return isinstance(found, dict) and "cases" in found and "; seed " in str(found.get("description", ""))


def _is_table(start: bytes, path: Path) -> bool:
    return _head(path).removeprefix(b"\xef\xbb\xbf").startswith(start)


def _is_record(keys: frozenset[str], path: Path) -> bool:
    found = json.loads(read_bytes(path))
    return isinstance(found, dict) and keys <= found.keys()


def _head(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(_HEAD)
