"""All that an automatic model's card says, as a page: a paragraph a data set, choices in words."""

import pytest

from sam_moe.cli.models.automatic_pages import page
from sam_moe.cli.models.model_list import find
from sam_moe.registry import read_card
from tests.registry.conftest import make_automatic_card
from tests.systems.m4oe.automatics import write_automatic

MADE = {"command": "sam-moe train r.yaml", "seeds": [1], "data": ["necks", "brains"]}
DICE = {"metric": "Dice", "value": 0.8123, "data": "cord, test part", "protocol": "no prompt", "cases": 12}


def test_the_page_holds_what_the_card_says(sam_moe, cards):
    credit = {"source": "A test", "licence": "CC0-1.0", "note": "cropped"}
    write_automatic(cards, description="Labels necks.", made_by=MADE, measured=[DICE], attribution=[credit])
    lines = sam_moe("checkpoints", "show", "auto").out.splitlines()
    assert lines[:3] == ["auto: Neck and brain", "Labels necks.", ""]
    for line in (
        "weights        shipped, 0.0 MB, float32",
        "system         m4oe",
        "architecture   host conv_unet, image_size 16, in_channels 3, widths (4, 8, 8), site_levels 2,",
        "experts        ct, mr",
        "weighed by     a gate's softmax over experts, for each slice; the first place has one part for all",
        "licence        CC-BY-SA-4.0",
        "made by        sam-moe train r.yaml",
        "data           necks, brains",
        "not for        Clinical use.",
        "set            neck: CT of the neck; CT, expert ct; pixels of 2.5 x 2.5 mm, slices of 3 mm; numbers",
        "               from -100 to 300; unlike it beyond a distance of 4.5",
        "labels         cord (largest part, refined by a box), larynx",
        "set            brain: T1 MR of the brain; MR T1, expert mr; pixels of 1 x 1 mm, slices of 1 mm;",
        "               numbers by mean and deviation of the voxels above the mean",
        "labels         hippocampus",
        "after          A test (CC0-1.0). cropped",
        "measured       Dice 0.8123 on cord, test part, 12 cases (no prompt)",
    ):
        assert line in lines
    assert f"card{cards / 'auto' / 'card.json'}" in "".join(lines).replace(" ", "")  # long paths are wrapped


def test_what_a_card_leaves_out_has_no_line(cards):
    entry = write_automatic(cards)
    text = page(entry.card, find("auto"))
    assert "made by" not in text and "data  " not in text and "after" not in text and "measured" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pooling": "token", "ungated": 0}, "a gate's softmax over experts, for each token"),
        (
            {"pooling": "volume", "ungated": 2},
            "a gate's softmax over experts, for each scan; the first 2 places have one part for all",
        ),
        ({"scores": "channel", "pooling": "token", "ungated": 0}, "a softmax over channels, for each token"),
        ({"scores": "forced", "ungated": 0}, "the data set's own expert alone"),
        ({"scores": "uniform", "ungated": 0}, "all experts alike"),
    ],
)
def test_how_experts_are_weighed_stands_in_words(cards, changes, words):
    mixture = make_automatic_card()["mixture"] | changes
    entry = write_automatic(cards, mixture=mixture)
    text = " ".join(page(entry.card, find("auto")).split())
    assert f" weighed by {words} licence " in text


def test_show_for_machines_is_the_card(sam_moe, cards, tmp_path):
    entry = write_automatic(cards)
    (tmp_path / "copy.json").write_text(sam_moe("checkpoints", "show", "auto", "--json").out)
    assert read_card(tmp_path / "copy.json") == entry.card
