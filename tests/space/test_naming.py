"""Suffixes and label values have one list and one bound, whoever reads or writes."""

import subprocess
import sys

import pytest

from sam_moe.errors import FileError
from sam_moe.space.files import read, suffix_of
from sam_moe.space.naming import LARGEST_LABEL, SUFFIXES, label_value


@pytest.mark.parametrize(("given", "value"), [(0, 0), (3, 3), ("7", 7), (2.0, 2), (LARGEST_LABEL, 2**31 - 1)])
def test_a_whole_number_or_its_digits_is_a_label(given, value):
    assert label_value(given) == value


@pytest.mark.parametrize("given", [-1, 1.5, True, "one", "1.5", LARGEST_LABEL + 1, None, float("inf"), [1]])
def test_anything_else_is_none(given):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        label_value(given)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_has_a_suffix_is_read_and_written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no scan of this format, however it is read")
    assert suffix_of(path) == suffix
    with pytest.raises(FileError, match="^(?!.*unknown kind of file)"):
        read(path)


def test_a_file_with_another_suffix_is_answered_with_all_of_these(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"text")
    for ask in (read, suffix_of):
        with pytest.raises(FileError, match="unknown kind of file") as caught:
            ask(path)
        assert all(suffix in str(caught.value) for suffix in SUFFIXES)


def test_names_are_known_without_torch():
    program = "import sys, sam_moe.space.naming; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
