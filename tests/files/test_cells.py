"""No text begins like a formula as a cell, and every text comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.files.cells import shielded, unshielded

STARTS = "=+-@\t\r\n＝＋－＠"


@pytest.mark.parametrize("start", STARTS)
def test_what_begins_like_a_formula_gets_an_apostrophe(start):
    assert shielded(f"{start}1+1") == f"'{start}1+1"


@given(st.text() | st.text(f"{STARTS}'a1", max_size=4))
def test_every_text_comes_back_and_no_cell_begins_like_a_formula(text):
    assert unshielded(shielded(text)) == text
    assert not shielded(text).startswith(tuple(STARTS))


@pytest.mark.parametrize("text", ["", "liver", "'quoted'", "a=b", "1-2", "'"])
def test_other_text_stays_as_it_is(text):
    assert shielded(text) == text
