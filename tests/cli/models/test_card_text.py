"""Cards in columns: as wide as they must be, wrapped where a line would be too long."""

from hypothesis import given
from hypothesis import strategies as st

from sam_moe.cli.models.card_text import columns, credits, facts, in_words, measured, wrapped
from sam_moe.registry import Attribution, Measurement


def test_a_column_is_as_wide_as_its_widest_cell_and_the_last_is_not_filled():
    assert columns([("ID", "TITLE"), ("small", "a model")]) == "ID     TITLE\nsmall  a model"
    assert columns([("alone",)]) == "alone"


@given(st.lists(st.text("ab ", max_size=60), min_size=1, max_size=8))
def test_wrapping_loses_no_word_and_keeps_to_the_width(words):
    text = " ".join(words)
    lines = wrapped(text, "name   ")
    assert all(len(line) <= 100 for line in lines)
    assert " ".join(lines).removeprefix("name").split() == text.split()


def test_facts_that_are_not_known_have_no_line():
    assert facts({"licence": "MIT", "sha256": None}) == ["licence        MIT"]


def test_fields_stand_in_one_line():
    assert in_words({"depth": 2, "kind": None, "width": 48}) == "depth 2, width 48"


def test_credits_name_source_and_licence():
    credit = Attribution(source="A paper", licence="CC0-1.0", note="Its weights.")
    assert credits([credit]) == ["after          A paper (CC0-1.0). Its weights."]


def test_a_figure_stands_with_its_data_cases_and_protocol():
    row = Measurement(metric="Dice", value=0.87654, data="a set", cases=12, protocol="one click")
    assert measured([row]) == ["measured       Dice 0.8765 on a set, 12 cases (one click)"]
