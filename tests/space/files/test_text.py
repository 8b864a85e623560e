"""Numbers in text headers, names off by a letter, and the way from LPS to RAS."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sam_moe.errors import FileError
from sam_moe.space.files.text import check_positive, lps_to_ras, numbers, one_edit_apart

PATH = Path("scan.mha")
names = st.text("abcdef", min_size=1, max_size=8)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_as_many_numbers_as_expected_are_read_back(values):
    assert numbers(PATH, "Offset", " ".join(map(repr, values)), len(values)) == values


@pytest.mark.parametrize("value", ["", "1 2", "1 2 3 4", "1 2 x", "1 2 nan", "1 2 inf"])
def test_other_numbers_are_refused_by_the_field(value):
    with pytest.raises(FileError, match=r"scan.mha: header field 'Offset' is .* Expected 3 finite numbers"):
        numbers(PATH, "Offset", value, 3)


@pytest.mark.parametrize("spacing", [[1.0, 0.0, 1.0], [1.0, -2.0, 1.0]])
def test_a_spacing_of_zero_or_less_is_refused(spacing):
    check_positive(PATH, "spacings", [0.5, 1.0, 2.0])
    with pytest.raises(FileError, match="Expected positive millimetres"):
        check_positive(PATH, "spacings", spacing)


@given(names, st.data())
def test_one_edit_is_found_whichever_it_was(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("xyz"))
    less = name[:place] + name[place + 1 :]
    other, more = name[:place] + letter + name[place + 1 :], name[:place] + letter + name[place:]
    swapped = name[:place] + name[place : place + 2][::-1] + name[place + 2 :]
    for edited in (less, other, more, swapped, name.upper()):
        assert one_edit_apart(edited, name) and one_edit_apart(name, edited)


@pytest.mark.parametrize(("a", "b"), [("offset", "origin"), ("sizes", "si"), ("abcd", "badc"), ("", "ab")])
def test_two_edits_are_too_many(a, b):
    assert not one_edit_apart(a, b) and not one_edit_apart(b, a)


def test_left_and_back_become_right_and_front_and_again():
    affine = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 0, 1]])
    found = lps_to_ras(affine)
    assert found.tolist() == [[-1, -2, -3, -4], [-5, -6, -7, -8], [9, 10, 11, 12], [0, 0, 0, 1]]
    assert_allclose(lps_to_ras(found), affine)
