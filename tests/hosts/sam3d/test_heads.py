"""Heads that no training asks keep every bit."""

from sam_moe.hosts.sam3d.heads import UNASKED, freeze_unasked
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.sizes import Sizes

SIZES = Sizes(image_size=16, patch_size=4, out_channels=48, decoder_mlp_dim=32, iou_hidden_dim=16)


def test_the_heads_of_the_first_mask_learn_and_those_of_the_others_and_of_the_iou_do_not():
    decoder = MaskDecoder(SIZES)
    freeze_unasked(decoder)
    frozen = {name for name, parameter in decoder.named_parameters() if not parameter.requires_grad}
    heads = {".".join(name.split(".")[: 1 if name.startswith("iou") else 2]) for name in frozen}
    assert heads == set(UNASKED)
    assert decoder.output_hypernetworks_mlps[0].layers[0].weight.requires_grad
    everything = {name for name, _ in decoder.named_parameters()}
    assert all(name in frozen for name in everything if name.startswith(UNASKED))
