"""All that a model's card says, as a page and for machines."""

from sam_moe.registry import read_card
from sam_moe.registry.finding import DEFAULT_MODEL


def test_the_page_holds_what_the_card_says(sam_moe, cards):
    ran = sam_moe("checkpoints", "show", DEFAULT_MODEL)
    lines = ran.out.splitlines()
    assert lines[0] == f"{DEFAULT_MODEL}: A small random model"
    assert "licence        Apache-2.0" in lines
    assert "boxes by       corners" in lines
    assert "not for        Anything but this test." in lines
    assert "after          A test (CC0-1.0)." in lines


def test_show_for_machines_is_the_card(sam_moe, cards, tmp_path):
    (tmp_path / "copy.json").write_text(sam_moe("checkpoints", "show", DEFAULT_MODEL, "--json").out)
    assert read_card(tmp_path / "copy.json") == read_card(cards / DEFAULT_MODEL / "card.json")
