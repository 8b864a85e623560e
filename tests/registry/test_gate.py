"""A gate's card lists experts in the order of its outputs, and says how it chooses and no more."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import GateCard, read_card, write_card
from sam_moe.registry.gate import card_fields
from tests.registry.conftest import make_gate_card

SHA = "0123456789abcdef" * 4
SIZES = make_gate_card()["architecture"]
GENERAL, CORD = {"id": "small", "sha256": SHA}, {"id": "cord", "sha256": SHA}


@pytest.mark.parametrize(
    "changes",
    [
        {"curve": [{"threshold": 0.5, "general_drop": 0.001, "specialised_gain": 0.2}]},
        {"selection": "top_k", "k": 2, "threshold": None},
        {"selection": "argmax", "threshold": None, "fusion": "probabilities"},
        {"selection": "forced", "forced": "cord", "threshold": None},
        {"selection": "dense", "threshold": None},
        {"selection": "top_k", "k": 1, "threshold": None, "selection_settings": {"raw": False}},
        {"selection_settings": {"general": "cord"}},
        {"architecture": SIZES | {"kind": "linear", "hidden": None}},
    ],
)
def test_a_card_of_each_selection_reads_back_as_it_was_written(tmp_path, changes, placed, gate_card):
    first = read_card(placed(tmp_path, gate_card(**changes)))
    assert isinstance(first, GateCard)
    assert [expert.id for expert in first.experts] == ["small", "cord"]
    write_card(first, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == first


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"experts": [CORD, GENERAL]}, r"experts\[0\] is 'cord'; the first output is the general expert's"),
        ({"experts": [GENERAL | {"sha256": "f" * 64}, CORD]}, r"put the base's id 'small' and its sha256"),
        ({"experts": [GENERAL, CORD, CORD]}, r"experts names cord more than once"),
        ({"experts": [GENERAL]}, r"architecture\.columns 2 must be 1, as experts"),
        ({"threshold": None}, r"selection 'threshold' needs 'threshold'"),
        ({"threshold": 1.5}, r"threshold: .*less than or equal to 1, not 1\.5"),
        ({"k": 2}, r"'k' is for selection 'top_k', and this is 'threshold'; leave it out"),
        ({"selection": "top_k", "k": 3, "threshold": None}, r"k 3 is more than the 2 experts"),
        ({"selection": "forced", "forced": "x", "threshold": None}, r"forced 'x' is not among .*small, cord"),
        ({"selection_settings": {"tau": 0.5}}, r"selection_settings\.tau is this card's 'threshold'; leave"),
        (
            {"selection": "top_k", "k": 2, "threshold": None, "selection_settings": {"raw": True}},
            r"selection_settings\.raw keeps weights that do not sum to 1.*leave it out",
        ),
        (
            {"architecture": SIZES | {"kind": "linea"}},
            r"architecture\.kind: kind of gate 'linea' is unknown.*linear",
        ),
        ({"architecture": SIZES | {"hidden": None}}, r"architecture: kind 'trunk' needs 'hidden'"),
        ({"selection": "vote"}, r"selection: .*'vote' is unknown. Known, nearest first: .*top_k"),
        (
            {"feature_bank": make_gate_card()["weights"]},
            r"'gate\.safetensors' is weights\.file; they",
        ),
        ({"format": 9}, r"format: 9 is newer than 1"),
    ],
)
def test_a_bad_card_is_named_with_field_and_remedy(tmp_path, changes, complaint, placed, gate_card):
    path = placed(tmp_path, gate_card(**changes))
    with pytest.raises(CardError, match=complaint) as caught:
        read_card(path)
    assert str(caught.value).startswith(str(path))


def test_a_newer_fingerprint_of_the_base_is_another_base(tmp_path, placed, gate_card):
    path = placed(tmp_path, gate_card(base={"id": "small", "sha256": SHA[::-1]}))
    with pytest.raises(CardError, match="the first output is the general expert's"):
        read_card(path)


@pytest.mark.parametrize(
    ("rule", "settings", "fields"),
    [
        ("threshold", {"tau": 0.3}, {"threshold": 0.3}),
        ("top_k", {"k": 2, "raw": False}, {"threshold": None, "k": 2, "selection_settings": {"raw": False}}),
        ("forced", {"index": "cord"}, {"threshold": None, "forced": "cord"}),
        ("dense", {}, {"threshold": None}),
    ],
)
def test_a_rules_settings_become_fields_and_back(rule, settings, fields, gate_card):
    card = GateCard.model_validate(gate_card(selection=rule, **fields))
    assert (card.selection, card.rule_settings) == (rule, settings)
    written = {name: value for name, value in card_fields(rule, settings).items() if value is not None}
    assert written == {"selection": rule, **{k: v for k, v in fields.items() if v is not None}}


def test_a_rule_of_another_package_is_valid_by_its_name_and_not_imported(tmp_path, monkeypatch, gate_card):
    place = tmp_path / "votes-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: votes\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[sam_moe.rules]\nvote = nowhere:Vote\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"by": "label", "weight": 0.5}
    card = GateCard.model_validate(gate_card(selection="vote", threshold=None, selection_settings=settings))
    assert card.rule_settings == settings == card_fields("vote", settings)["selection_settings"]
