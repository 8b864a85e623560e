"""Named tensors become a frozen SAM-Med3D, or an error that names those that do not fit."""

import os
from pathlib import Path

import pytest
import torch

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.loading import build_model, load_model
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_metadata, save_weights
from tests.hosts.sam3d.small import SMALL, assert_holds, random_state

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def state(generator):
    return random_state(generator)


@pytest.fixture(params=["onewin", "patch16", "nopad", "boxes"])
def reference_folder(request):
    folder = Path(os.environ.get("SAM_MOE_REFERENCE", ROOT / ".." / "shared" / "reference")) / request.param
    if not folder.is_dir():
        pytest.skip(f"no reference vectors at {folder}; set SAM_MOE_REFERENCE to the folder that has them")
    return folder


def test_a_saved_model_is_loaded_bit_for_bit_frozen_and_in_evaluation_mode(tmp_path, state):
    save_weights(state, tmp_path / "model.safetensors", {"made": "here"})
    model = load_model(tmp_path / "model.safetensors")
    assert_holds(model, state)
    assert model.sizes == SMALL
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert read_metadata(tmp_path / "model.safetensors") == {"made": "here"}


def test_a_loaded_model_does_not_change_with_its_file(tmp_path, state):
    path = tmp_path / "model.safetensors"
    save_weights(state, path)
    model = load_model(path)
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert_holds(model, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_stored_precision_computes_in_fp32(tmp_path, state, dtype):
    stored = {name: tensor.to(dtype) for name, tensor in state.items()}
    save_weights(stored, tmp_path / "model.safetensors")
    assert_holds(load_model(tmp_path / "model.safetensors"), {name: t.float() for name, t in stored.items()})


def test_the_report_names_what_is_missing_too_much_and_misshapen(state):
    state["mask_decoder.iou_tokens.weight"] = state.pop("mask_decoder.iou_token.weight")
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 7)
    state["image_encoder.neck.1.bias"] = torch.zeros(48, dtype=torch.int64)
    for name in [name for name in state if name.startswith("mask_decoder.iou_prediction_head")]:
        del state[name]
    with pytest.raises(WeightsError) as caught:
        build_model(state, SMALL, "x.pth")
    expected = len(random_state(torch.Generator()))
    head = "mask_decoder.iou_prediction_head.layers"
    assert str(caught.value).splitlines() == [
        f"x.pth: does not fit the model: of {expected} tensors 7 are missing and 2 do not fit; "
        "1 are not the model's",
        "  image_encoder: not fitting: image_encoder.neck.1.bias is 48 int64, expected 48 float32",
        "  mask_decoder: missing: mask_decoder.iou_token.weight "
        f"(the file has mask_decoder.iou_tokens.weight), "
        f"{head}.0.weight, {head}.0.bias, {head}.1.weight and 3 more",
        "  mask_decoder: unexpected: mask_decoder.iou_tokens.weight",
        "  prompt_encoder: not fitting: prompt_encoder.no_mask_embed.weight is 1×7 float32, "
        "expected 1×48 float32",
    ]


def test_a_checkpoint_without_a_tensor_that_shows_its_sizes_names_it(state):
    state["image_encoder.pos_embedding"] = state.pop("image_encoder.pos_embed")
    with pytest.raises(WeightsError, match=r"\.pos_embed \(the file has .*pos_embedding\) is missing"):
        build_model(state)


def test_a_checkpoint_of_another_network_is_no_sam_med3d():
    with pytest.raises(WeightsError, match=r"resnet\.pth: is no SAM-Med3D: .* without it the sizes are"):
        build_model({"conv1.weight": torch.zeros(3)}, where="resnet.pth")


@pytest.mark.parametrize("number", ["1000000000", "-1", "x"])
def test_a_layers_number_cannot_make_the_model_endless(state, number):
    state[f"mask_decoder.transformer.layers.{number}.mlp.lin1.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match="layers are numbered"):
        build_model(state)
    del state[f"mask_decoder.transformer.layers.{number}.mlp.lin1.weight"]
    state[f"image_encoder.blocks.{number}.norm1.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"is no SAM-Med3D|are not the model's"):
        build_model(state)


def test_corner_embeddings_are_seen(generator):
    sizes = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)
    state = random_state(generator, sizes)
    assert len(state) == len(random_state(generator)) + 2
    assert build_model(state).sizes == sizes
    with pytest.raises(WeightsError, match=r"unexpected: prompt_encoder\.point_embeddings\.2\.weight"):
        build_model(state, SMALL)


def test_the_references_files_load(reference_folder):
    model = load_model(reference_folder / "ckpt.pth")
    assert model.sizes.corner_embeddings == (reference_folder.name == "boxes")
    trainer = reference_folder / "ckpt_trainer.pth"
    if trainer.exists():
        assert fingerprint(load_model(trainer)) == fingerprint(model)
