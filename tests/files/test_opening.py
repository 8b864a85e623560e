import os
import socket
from pathlib import Path

import pytest

from sam_moe.errors import CardError, FileError
from sam_moe.files import open_file, read_bytes, sha256_of, shown


def test_an_ordinary_file_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert read_bytes(path) == b"abc"
    with open_file(path) as file:
        assert file.read(2) == b"ab"


def test_a_link_to_an_ordinary_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "link") == b"abc"


def test_what_would_make_one_wait_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, kind in [
            (tmp_path / "pipe", "a pipe"),
            (tmp_path / "link", "a pipe"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/zero"), "a device"),
            (tmp_path, "a folder"),
        ]:
            with pytest.raises(FileError, match=f"is {kind}. Expected an ordinary file"):
                open_file(path)


def test_each_error_says_what_to_do_in_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"")
    for path, reason in [
        (tmp_path / "none", "no such file"),
        (tmp_path / "file" / "below", "no such file"),
        (tmp_path / "loop", "leads back to itself"),
        (tmp_path / "with\0nul", "null byte"),
        (tmp_path / ("long" * 100), "name too long"),
    ]:
        with pytest.raises(CardError, match=reason) as caught:
            read_bytes(path, CardError)
        assert "\n" not in str(caught.value)


def test_a_longer_file_than_expected_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, most=5) == b"12345"
    with pytest.raises(FileError, match="longer than 4 bytes"):
        read_bytes(path, most=4)


def test_a_path_is_shown_in_one_line_whatever_its_letters():
    assert shown("ä/scan.nii") == "ä/scan.nii"
    assert shown("a\nb\tc") == r"a\nb\tc"
    assert shown("a\udcff") == r"a\udcff"  # a byte that is no UTF-8, as Python keeps it


def test_the_checksum_is_the_known_one_of_abc_and_needs_an_ordinary_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == known
    with pytest.raises(CardError, match="is a folder"):
        sha256_of(tmp_path, CardError)
