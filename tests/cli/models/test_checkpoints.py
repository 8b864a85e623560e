"""`sam-moe convert`, as a person types it: a checkpoint that fits answers, one that does not is reported."""

import torch

from sam_moe.predict.files.manifest import Manifest
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.space.files import record_beside
from sam_moe.weights.files import read_state

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
