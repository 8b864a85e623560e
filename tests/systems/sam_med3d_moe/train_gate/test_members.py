"""A gate is trained over experts of one backbone."""

import json

import pytest

from sam_moe.errors import CardError
from sam_moe.systems.sam_med3d_moe.train_gate.members import load_members


def test_experts_stand_in_the_order_asked_for_behind_the_general_one(team):
    found = load_members("tiny-base", [team.expert("b"), team.expert("a", seed=2)])
    assert [ref.id for ref in found.refs] == ["tiny-base", "b", "a"]
    assert found.decoders.each[0] is found.decoders.model.mask_decoder and len(found.decoders.each) == 3
    assert not any(p.requires_grad for decoder in found.decoders.each for p in decoder.parameters())


def test_an_expert_named_twice_is_refused(team):
    folder = team.expert("a")
    with pytest.raises(CardError, match="a: named more than once"):
        load_members("tiny-base", [folder, folder])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"base": {"id": "tiny-base", "sha256": "0" * 64}}, "A gate chooses among experts of one backbone"),
        ({"expert_kind": "full"}, "'full' has an encoder of its own"),
    ],
)
def test_experts_of_another_backbone_or_with_their_own_are_refused(team, change, complaint):
    folder = team.expert("a")
    table = json.loads((folder / "card.json").read_text()) | change
    if "expert_kind" in change:
        base = json.loads((team.folder / "tiny-base" / "card.json").read_text())
        table["architecture"] = base["architecture"]
    (folder / "card.json").write_text(json.dumps(table))
    with pytest.raises(CardError, match=complaint):
        load_members("tiny-base", [folder])
