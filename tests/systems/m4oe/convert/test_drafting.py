"""Cards of converted models: what tensors show stands, what a draft says goes before guesses."""

import json
from pathlib import Path

import pytest

from sam_moe.errors import CardError, ConfigError
from sam_moe.systems.m4oe.convert.drafting import draft_card, heads_of, read_draft_of
from tests.systems.m4oe.convert.checkpoints import MAE, TINY

SOURCE = Path("best.pth")


def card(draft, sizes=TINY, experts=2, origin="m4oe"):
    return draft_card(draft, "mine", SOURCE, sizes, experts, origin)


def test_without_a_draft_all_that_is_guessed_is_said_to_be():
    made = card({})
    assert made.title == "M4oE with its gate over channels, from best.pth"
    assert "are guesses" in made.description
    assert made.licence.startswith("unknown")
    assert made.mixture.model_dump() == {
        "experts": ("expert-0", "expert-1"),
        "scores": "channel",
        "pooling": "token",
        "ungated": 0,
    }
    assert [each.id for each in made.sets] == ["set-0", "set-1"]
    assert [[label.name for label in each.labels] for each in made.sets] == [
        ["class-1", "class-2"],
        ["class-1"],
    ]
    assert made.sets[0].spacing_mm == (5.95, 5.95, 5)  # 380.8 mm over 64 pixels


def test_an_abdomen_is_as_wide_as_the_public_picture():
    sizes = TINY.model_copy(update={"image_size": 224, "window": 7})
    assert card({}, sizes).sets[0].spacing_mm[0] == 1.7


def test_a_set_of_a_draft_is_filled_in_field_by_field():
    draft = {
        "title": "Ours",
        "licence": "MIT",
        "sets": [
            {"id": "ct", "labels": [{"name": "liver"}, {"name": "spleen", "parts": "largest"}]},
            {"id": "mr", "intensity": {"kind": "window", "low": 0, "high": 900}},
        ],
    }
    made = card(draft)
    assert (made.id, made.title, made.licence) == ("mine", "Ours", "MIT")
    assert [each.id for each in made.sets] == ["ct", "mr"]
    assert made.sets[0].labels[1].parts == "largest"
    assert made.sets[0].intensity.kind == "mean"
    assert made.sets[1].intensity.high == 900
    assert made.sets[1].labels[0].name == "class-1"


def test_experts_are_called_as_the_drafts_sets_call_them_where_they_are_as_many():
    sets = [{"expert": "ct"}, {"expert": "mr"}]
    assert card({"sets": sets}).mixture.experts == ("ct", "mr")
    with pytest.raises(CardError, match="names the expert 'ct'"):
        card({"sets": sets}, experts=3)
    shared = {"sets": [{"expert": "ct"}, {"expert": "ct"}]}
    assert card(shared, experts=1).mixture.experts == ("ct",)


def test_more_heads_than_experts_share_the_last():
    sizes = TINY.model_copy(update={"classes": (2, 2, 2)})
    assert [each.expert for each in card({}, sizes).sets] == ["expert-0", "expert-1", "expert-1"]


def test_swin_mae_gets_the_houses_gate_and_a_warning():
    made = card({}, MAE, origin="swin-mae")
    assert (made.mixture.scores, made.mixture.pooling, made.mixture.ungated) == ("expert", "slice", 1)
    assert "untrained" in made.not_for
    assert "answers nothing before it is trained" in made.description
    assert card({}, origin="m4oe-hard").mixture.scores == "forced"


@pytest.mark.parametrize(
    ("draft", "complaint"),
    [
        ({"sets": [{}]}, "has 1 sets, and there are 2 heads, of 3, 2 classes"),
        ({"sets": {"a": 1}}, "sets: is no list of objects"),
        ({"sets": [{}, 3]}, "sets: is no list of objects"),
        ({"titel": "x"}, "titel"),
        ({"sets": [{"labels": [{"name": "a"}]}, {}]}, "architecture.classes"),
        ({"sets": [{"spacing_mm": [1, 1]}, {}]}, "spacing_mm"),
    ],
)
def test_a_draft_that_does_not_fit_is_refused(draft, complaint):
    with pytest.raises(CardError, match=complaint):
        card(draft)


def test_a_draft_is_read_from_json_and_none_is_empty(tmp_path):
    assert read_draft_of(None) == {}
    (tmp_path / "d.json").write_text(json.dumps({"title": "x"}))
    assert read_draft_of(tmp_path / "d.json") == {"title": "x"}
    (tmp_path / "d.json").write_text(json.dumps({"kind": "expert"}))
    with pytest.raises(CardError, match="is 'expert'; give the draft of an automatic model"):
        read_draft_of(tmp_path / "d.json")


def test_heads_are_given_or_counted_from_a_drafts_labels():
    sets = [{"labels": [{"name": "a"}]}, {"labels": [{"name": "a"}, {"name": "b"}]}]
    assert heads_of({"sets": sets}, None, "x") == (2, 3)
    assert heads_of({"sets": sets}, (5,), "x") == (5,)
    for draft in ({}, {"sets": [{}]}, {"sets": 3}, {"sets": [{"labels": 3}]}):
        with pytest.raises(ConfigError, match="x: a Swin-MAE checkpoint has no heads.*--heads 8,5,3"):
            heads_of(draft, None, "x")
