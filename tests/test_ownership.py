"""Files of ours are known by their marks; all others are replaced only where that is asked for."""

import json
import os

import pytest

from sam_moe.errors import FileError
from sam_moe.ownership import (
    check_folder,
    check_not_read,
    check_ours,
    is_folder,
    is_same,
    is_there,
    page,
    picture,
    record,
    sha256_or_none,
    table,
)


def test_a_free_name_is_fine_and_a_folder_never(tmp_path):
    check_ours(tmp_path / "free", lambda path: False)
    for force in (False, True):
        with pytest.raises(FileError, match="this is a folder"):
            check_ours(tmp_path, lambda path: True, force=force)


@pytest.mark.parametrize(
    ("ours", "content", "foreign"),
    [
        (table("system", "case"), b"system,case,dice\n", b"case,system\n"),
        (table("system", "case"), b"\xef\xbb\xbfsystem,case\n", b""),
        (record("a", "b"), b'{"a": 1, "b": 2, "c": 3}', b'{"a": 1}'),
        (record("a"), b'{"a": 1}', b'["a"]'),
        (record("a"), b'{"a": 1}', b"[" * 100_000),
        (record("a"), b'{"a": 1}', b"\xff\xfe{"),
        (page, b'<!DOCTYPE html>\n<html><meta name="generator" content="sam-moe">', b"<html>sam-moe</html>"),
        (picture, b"\x89PNG\r\n\x1a\n....tEXtSoftware\0sam-moe", b"Software\0sam-moe"),
    ],
)
def test_ours_bear_a_mark_and_others_are_refused(tmp_path, ours, content, foreign):
    (tmp_path / "mine").write_bytes(content)
    (tmp_path / "theirs").write_bytes(foreign)
    check_folder(tmp_path, {"mine": ours, "none": ours})
    with pytest.raises(FileError, match="theirs: is there already, and sam-moe did not write it.*--force"):
        check_folder(tmp_path, {"mine": ours, "theirs": ours})
    check_folder(tmp_path, {"theirs": ours}, force=True)


def test_pages_and_pictures_are_written_with_their_marks(tmp_path):
    from sam_moe.evaluation.report.page import el
    from sam_moe.evaluation.report.page import page as made

    (tmp_path / "p.html").write_text(made("title", el("p", "text")), encoding="utf-8")
    assert page(tmp_path / "p.html")


@pytest.mark.parametrize("force", [False, True])
def test_what_is_read_is_never_replaced_by_whatever_name(tmp_path, force):
    source = tmp_path / "in.json"
    source.write_text(json.dumps({"a": 1}))
    (tmp_path / "symbolic.json").symlink_to(source)
    os.link(source, tmp_path / "hard.json")
    for name in ("in.json", "symbolic.json", "hard.json"):
        with pytest.raises(FileError, match="which is read"):
            check_folder(tmp_path, {name: record("a")}, [source], force=force)
    check_not_read(tmp_path / "other.json", [source, tmp_path / "gone"])


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "none"])
def test_a_name_that_no_file_can_have_leads_nowhere(tmp_path, name):
    assert not is_there(tmp_path / name) and not is_folder(tmp_path / name)
    assert is_there(tmp_path) and is_folder(tmp_path)


def test_two_names_of_one_place_are_the_same_also_where_nothing_is_yet(tmp_path):
    assert is_same(tmp_path / "none", tmp_path / "none")
    assert not is_same(tmp_path / "none", tmp_path / "other")


def test_what_is_no_file_has_no_checksum(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert (
        sha256_or_none(tmp_path / "pipe")
        is sha256_or_none(tmp_path / "none")
        is sha256_or_none(tmp_path)
        is None
    )
    (tmp_path / "file").write_bytes(b"")
    assert (
        sha256_or_none(tmp_path / "file")
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    with pytest.raises(FileError):
        check_ours(tmp_path / "pipe", lambda path: sha256_or_none(path) is not None)
