"""A card's kind decides how it is read; a draft is a card without what a machine can fill in."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import AutomaticCard, BackboneCard, ExpertCard, GateCard, read_card, read_draft
from sam_moe.registry.reading import weights_named_in

SHA = "0123456789abcdef" * 4


def test_the_kind_tells_the_cards_apart_and_a_card_without_one_is_a_backbones(
    tmp_path, placed, card, expert_card, gate_card, automatic_card
):
    kinds = (BackboneCard, ExpertCard, GateCard, AutomaticCard)
    for data, kind in zip((card(), expert_card(), gate_card(), automatic_card()), kinds, strict=True):
        assert type(read_card(placed(tmp_path, data))) is kind
    plain = {key: value for key, value in card(id="plain").items() if key != "kind"}
    assert type(read_card(placed(tmp_path, plain))) is BackboneCard


def test_a_newer_format_is_told_before_its_unknown_kind(tmp_path, placed, card):
    with pytest.raises(CardError, match=r"format: 2 is newer than 1, the newest known here; update sam-moe"):
        read_card(placed(tmp_path, card(format=2, kind="router")))


def test_the_weights_of_a_card_are_named_and_those_of_none_are_none(tmp_path, placed, automatic_card):
    assert weights_named_in(placed(tmp_path, automatic_card())) == automatic_card()["weights"]["file"]
    assert weights_named_in(tmp_path / "nowhere.json") is None
    (tmp_path / "broken.json").write_text("{")
    assert weights_named_in(tmp_path / "broken.json") is None


@pytest.mark.parametrize("text", ["[]", "3", '"card"', "{", ""])
def test_what_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(CardError, match="card\\.json: "):
        read_card(tmp_path / "card.json")


def test_a_draft_is_filled_in_and_what_it_says_goes_first(tmp_path, placed, expert_card):
    draft = expert_card(base={"id": "small"})
    del draft["weights"], draft["expert_kind"]
    known = {
        "expert_kind": "decoder",
        "base": {"id": "other", "sha256": SHA},
        "weights": expert_card()["weights"],
    }
    filled = read_draft(placed(tmp_path, draft, "draft")).finished(known)
    assert filled == read_card(placed(tmp_path, expert_card()))


def test_a_draft_must_be_an_experts(tmp_path, placed, gate_card, automatic_card):
    for data in (gate_card(), automatic_card()):
        with pytest.raises(CardError, match=rf"kind: is '{data['kind']}'; give the card of an expert"):
            read_draft(placed(tmp_path, data))


def test_what_a_draft_lacks_and_nobody_knows_is_named(tmp_path, placed, expert_card):
    draft = expert_card()
    del draft["licence"]
    with pytest.raises(CardError, match=r"licence: missing; add it"):
        read_draft(placed(tmp_path, draft)).finished({})


def test_a_draft_names_its_base_and_may_know_its_checksum(tmp_path, placed, expert_card):
    whole = read_draft(placed(tmp_path, expert_card()))
    assert (whole.base_id, whole.base_sha256) == ("small", SHA)
    part = read_draft(placed(tmp_path, expert_card(base={"id": "tiny"}), "part"))
    assert (part.base_id, part.base_sha256) == ("tiny", None)
    with pytest.raises(CardError, match=r"base\.id: missing; add the id of the backbone"):
        _ = read_draft(placed(tmp_path, expert_card(base="tiny"), "none")).base_id
