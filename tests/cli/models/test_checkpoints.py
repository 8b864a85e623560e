"""`sam-moe convert`, as a person types it: a checkpoint that fits answers, one that does not is reported."""

import json

import torch

from sam_moe.predict.files.manifest import Manifest
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.space.files import record_beside
from sam_moe.weights.files import read_state
from tests.systems.m4oe.convert.checkpoints import m4oe, saved, swin_mae

MIDDLE = ("--point", 24, 24, 24)


def manifest_of(mask):
    return Manifest.model_validate_json(record_beside(mask).read_text("utf-8"))


def test_a_checkpoint_that_fits_is_converted_and_then_answers(sam_moe, cards, scan, tmp_path):
    torch.save(
        {"model_state_dict": read_state(cards / DEFAULT_MODEL / "model.safetensors")}, tmp_path / "c.pth"
    )
    ran = sam_moe("convert", tmp_path / "c.pth", "--id", "mine")
    assert ran.code == 0
    assert ran.out.startswith("mine: all ")
    assert "--model mine --out MASK" in ran.err
    mask = tmp_path / "m.nii.gz"
    assert sam_moe("predict", scan, *MIDDLE, "--model", "mine", "--out", mask).code == 0
    assert manifest_of(mask).model.id == "mine"
    again = sam_moe("convert", tmp_path / "c.pth", "--id", "mine")
    assert again.code == 1
    assert "already has" in again.err
    assert sam_moe("convert", tmp_path / "c.pth", "--id", "mine", "--force").code == 0


def test_a_checkpoint_that_does_not_fit_is_reported_key_by_key(sam_moe, cards, tmp_path):
    state = read_state(cards / DEFAULT_MODEL / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    torch.save({"model_state_dict": {**state, "extra.weight": torch.zeros(3)}}, tmp_path / "c.pth")
    ran = sam_moe("convert", tmp_path / "c.pth", "--id", "mine", "--to", tmp_path / "out")
    assert ran.code == 1
    assert "  mask_decoder: missing: mask_decoder.iou_token.weight\n" in ran.err
    assert "  extra: unexpected: extra.weight\n" in ran.err
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_m4oe_is_recognised_and_becomes_an_automatic_model(sam_moe, tmp_path, monkeypatch):
    draft = {"sets": [{"id": "amos", "labels": [{"name": "liver"}, {"name": "spleen"}]}, {"id": "atlas"}]}
    (tmp_path / "draft.json").write_text(json.dumps(draft))
    monkeypatch.setenv("SAM_MOE_CACHE", str(tmp_path / "cache"))
    source = saved(m4oe(), tmp_path / "best.pth")
    ran = sam_moe("convert", source, "--id", "m4oe", "--card", tmp_path / "draft.json")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("m4oe: M4oE with its gate over channels: all ")
    assert "sam-moe segment SCAN --model m4oe --as amos --out LABELS" in ran.err
    shown = sam_moe("checkpoints", "show", "m4oe", "--json")
    assert json.loads(shown.out)["sets"][0]["labels"][1]["name"] == "spleen"


def test_swin_mae_needs_heads_and_is_a_start(sam_moe, tmp_path):
    source = saved(swin_mae(), tmp_path / "mae.pth")
    asked = sam_moe("convert", source, "--to", tmp_path / "out")
    assert asked.code == 1
    assert "--heads 8,5,3" in asked.err
    ran = sam_moe("convert", source, "--to", tmp_path / "out", "--heads", "4,3")
    assert ran.code == 0, ran.err
    assert "  left out: " in ran.out
    assert "answers nothing before it is trained" in ran.err


def test_what_is_for_other_checkpoints_is_asked_wrongly(sam_moe, cards, tmp_path):
    weights = cards / DEFAULT_MODEL / "model.safetensors"
    ran = sam_moe("convert", weights, "--heads", "3")
    assert ran.code == 2
    assert "no checkpoint of M4oE or Swin-MAE" in ran.err
    assert sam_moe("convert", weights, "--heads", "3;4").code == 2
