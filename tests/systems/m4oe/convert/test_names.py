"""Checkpoints are recognised by their names, and each tensor of ours finds its source."""

import pytest
import torch

from sam_moe.errors import WeightsError
from sam_moe.systems.m4oe.convert.names import check_computed, left_out, origin_of, plain, source_of
from tests.systems.m4oe.convert.checkpoints import m4oe, swin_mae

IDS = ("ct", "mr.v2")


@pytest.mark.parametrize("prefix", ["", "swin_unet."])
def test_each_code_is_recognised_with_and_without_prefix(prefix):
    gated = {prefix + name: tensor for name, tensor in m4oe().items()}
    hard = {name: tensor for name, tensor in gated.items() if "gating" not in name}
    assert origin_of(gated) == "m4oe"
    assert origin_of(hard) == "m4oe-hard"
    assert origin_of({prefix + name for name in swin_mae()}) == "swin-mae"
    assert plain(gated).keys() == m4oe().keys()


@pytest.mark.parametrize("names", [[], ["image_encoder.pos_embed"], ["layers.0.blocks.0.mlp.fc1.weight"]])
def test_another_network_is_not_taken_for_one(names):
    assert origin_of(names) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("host.patch_embed.proj.weight", "patch_embed.proj.weight"),
        ("host.layers.0.blocks.1.mlp.gating_network.bias", "layers.0.blocks.1.mlp.gating_network.bias"),
        ("host.layers.0.blocks.0.mlp.site.experts.ct.0.weight", "layers.0.blocks.0.mlp.experts.0.0.weight"),
        ("host.layers.3.blocks.0.mlp.site.experts.mr:v2.2.bias", "layers.3.blocks.0.mlp.experts.1.2.bias"),
        ("host.layers_up.2.blocks.0.norm1.weight", "layers_up.2.blocks.0.norm1.weight"),
        ("host.layers.0.blocks.0.mlp.site.gate.columns.0.weight", None),
    ],
)
def test_m4oes_experts_are_numbered_in_the_order_of_ids(ours, theirs):
    assert source_of(ours, IDS, "m4oe") == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("host.layers.1.blocks.0.mlp.site.experts.ct.0.weight", "layers.1.blocks.0.mlp.fc1.weight"),
        ("host.layers.1.blocks.0.mlp.site.experts.mr:v2.2.bias", "layers.1.blocks.0.mlp.fc2.bias"),
        ("host.layers.0.blocks.0.mlp.shared.2.weight", "layers.0.blocks.0.mlp.fc2.weight"),
        ("host.layers_up.0.expand.weight", "first_patch_expanding.expand.weight"),
        ("host.layers_up.1.upsample.norm.bias", "layers_up.0.upsample.norm.bias"),
        ("host.layers_up.3.blocks.1.mlp.site.experts.ct.2.bias", "layers_up.2.blocks.1.mlp.fc2.bias"),
        ("host.norm_up.weight", "norm_up.weight"),
        ("host.norm.weight", None),
        ("host.up.expand.weight", None),
        ("host.concat_back_dim.2.bias", None),
        ("host.outputs.1.weight", None),
    ],
)
def test_swin_maes_parts_move_and_what_it_lacks_has_no_source(ours, theirs):
    assert source_of(ours, IDS, "swin-mae") == theirs


def test_what_is_computed_or_predicts_pixels_has_no_place():
    mae = {name for name in swin_mae() if left_out(name, "swin-mae")}
    assert {name for name in mae if not name.endswith(("attn_mask", "relative_position_index"))} == {
        "pos_embed",
        "mask_token",
        "decoder_pred.weight",
        "decoder_pred.bias",
    }
    assert not left_out("decoder_pred.weight", "m4oe")


def test_stored_masks_are_compared_with_ours():
    ours = {"a.attn_mask": torch.tensor([[0.0, -100.0]]), "b.relative_position_index": torch.tensor([1, 0])}
    stored = {"a.attn_mask": ours["a.attn_mask"], "b.relative_position_index": torch.tensor([[1], [0]])}
    assert check_computed({**stored, "a.weight": torch.zeros(1)}, ours, "x") == 2
    for name, other in (("a.attn_mask", torch.zeros(1, 2)), ("b.relative_position_index", torch.zeros(3))):
        with pytest.raises(WeightsError, match=rf"x: {name} is another one .*--image-size"):
            check_computed({**stored, name: other}, ours, "x")
