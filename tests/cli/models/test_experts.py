"""Experts come and go by command: each verb as a person types it."""

import json

import pytest
import torch

from sam_moe.registry import read_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone, user_folder
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone

WORDS = {
    "id": "cord",
    "title": "Spinal cord",
    "base": {"id": DEFAULT_MODEL},
    "covers": [{"structure": "spinal cord", "modality": kind} for kind in ("CT", "MR")],
    "licence": "CC-BY-NC-4.0",
    "not_for": "Clinical use.",
}


@pytest.fixture
def finetuned(cards, tmp_path, generator):
    """The base with seeded noise on its decoder, as a trainer would save it; and the words for its card."""
    state = load_backbone(find_backbone(DEFAULT_MODEL)).state_dict()
    for name, tensor in state.items():
        if name.startswith("mask_decoder."):
            state[name] = tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
    torch.save({"model_state_dict": state}, tmp_path / "cord.pth")
    (tmp_path / "cord.json").write_text(json.dumps(WORDS))
    return tmp_path / "cord.pth", tmp_path / "cord.json"


@pytest.fixture
def added(sam_moe, finetuned):
    """That expert in the user's folder."""
    source, card = finetuned
    ran = sam_moe("experts", "add", source, "--card", card)
    assert ran.code == 0, ran.err
    return ran


def test_add_says_what_it_did_and_how_to_undo_it(added):
    assert added.out.startswith(f"cord: decoder on {DEFAULT_MODEL}; ")
    assert added.out.endswith("with its base under CC-BY-NC-4.0\n")
    assert added.remarks == "Undo it: sam-moe experts remove cord\n"
    assert read_card(user_folder() / "cord" / "card.json").id == "cord"


def test_the_list_has_one_line_an_expert_and_the_licence_of_the_mixture(sam_moe, added):
    lines = sam_moe("experts").out.splitlines()
    assert lines[0].split() == ["ID", "KIND", "BASE", "SIZE", "LICENCE", "COVERS"]
    assert lines[1].split()[:3] == ["cord", "decoder", DEFAULT_MODEL]
    assert lines[1].endswith("CC-BY-NC-4.0  spinal cord (CT, MR)")
    assert "one mixture of all of them: CC-BY-NC-4.0" in lines
    found = json.loads(sam_moe("experts", "list", "--json").out)
    assert [expert["id"] for expert in found["experts"]] == ["cord"]
    assert found["mixture_licence"] == "CC-BY-NC-4.0"


def test_an_expert_is_no_model_in_the_list_of_models(sam_moe, added):
    assert "cord" not in sam_moe("checkpoints", "list").out
    ran = sam_moe("checkpoints", "show", "cord")
    assert (ran.code, f"'cord' is an expert, no model; it works on {DEFAULT_MODEL!r}" in ran.err) == (1, True)


def test_show_holds_what_the_card_says(sam_moe, added, tmp_path):
    lines = sam_moe("experts", "show", "cord").out.splitlines()
    assert lines[0] == "cord: Spinal cord"
    assert "covers         spinal cord (CT, MR)" in lines
    assert "with its base  CC-BY-NC-4.0" in lines
    (tmp_path / "copy.json").write_text(sam_moe("experts", "show", "cord", "--json").out)
    assert read_card(tmp_path / "copy.json") == read_card(user_folder() / "cord" / "card.json")


def test_check_passes_a_good_expert_and_fails_a_damaged_one(sam_moe, added):
    good = sam_moe("experts", "check")
    assert (good.code, good.out) == (0, added.out)
    weights = user_folder() / "cord" / "expert.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    bad = sam_moe("experts", "check", "cord")
    assert bad.code == 1
    assert "expert.safetensors: has SHA-256" in bad.err


def test_remove_and_the_undoing_it_names(sam_moe, added):
    before = (user_folder() / "cord" / "card.json").read_bytes()
    removed = sam_moe("experts", "remove", "cord")
    assert removed.code == 0
    assert "cord" not in sam_moe("experts", "list").out
    undo = removed.remarks.removeprefix("Undo it: sam-moe ").split()
    assert sam_moe(*undo).code == 0
    assert (user_folder() / "cord" / "card.json").read_bytes() == before


def test_check_without_experts_says_so(sam_moe, cards):
    ran = sam_moe("experts", "check")
    assert (ran.code, ran.out, ran.remarks) == (0, "", "no experts here; add one with sam-moe experts add\n")


def test_an_error_is_answered_and_ends_with_one(sam_moe, finetuned):
    source, card = finetuned
    card.write_text(json.dumps(WORDS | {"base": {"id": DEFAULT_MODEL, "sha256": "0" * 64}}))
    ran = sam_moe("experts", "add", source, "--card", card)
    assert ran.code == 1
    assert "grew on other weights" in ran.err
    torch.save({"mask_decoder.x": torch.zeros(1)}, source)
    card.write_text(json.dumps(WORDS))
    ran = sam_moe("experts", "add", source, "--card", card)
    assert ran.code == 1
    assert "missing: mask_decoder." in ran.err
