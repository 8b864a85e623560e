"""What a checkpoint is to a backbone is told by its tensors alone."""

import pytest
import torch

from sam_moe.errors import CardError, WeightsError
from sam_moe.hosts.sam3d.loading import build_model
from sam_moe.hosts.sam3d.lora import add_lora, lora_ranks, lora_state
from sam_moe.registry import Lora
from sam_moe.systems.sam_med3d_moe.cards.expert_weights import DECODER, decoder_of, take, take_lora
from sam_moe.weights.checksums import fingerprint


def decoders(state):
    return {name: tensor for name, tensor in state.items() if name.startswith(DECODER)}


def test_of_a_whole_model_with_the_bases_encoder_the_decoder_alone_is_taken(tiny, finetuned):
    taken = take(finetuned, tiny, "x")
    assert (taken.kind, taken.sizes) == ("decoder", None)
    assert taken.state.keys() == decoders(finetuned).keys()
    assert all(torch.equal(tensor, finetuned[name]) for name, tensor in taken.state.items())


def test_an_encoder_stored_in_half_precision_is_still_the_bases(tiny, finetuned):
    assert take({name: tensor.half() for name, tensor in finetuned.items()}, tiny, "x").kind == "decoder"


@pytest.mark.parametrize("name", ["image_encoder.pos_embed", "prompt_encoder.no_mask_embed.weight"])
def test_a_model_with_anything_else_of_its_own_is_full(tiny, finetuned, name):
    finetuned[name] = finetuned[name] + 1
    taken = take(finetuned, tiny, "x")
    assert (taken.kind, taken.sizes) == ("full", tiny.sizes)
    assert taken.state.keys() == finetuned.keys()


def test_a_decoders_names_may_lack_the_prefix(tiny, finetuned):
    plain = {name.removeprefix(DECODER): tensor for name, tensor in decoders(finetuned).items()}
    assert take(plain, tiny, "x").state.keys() == take(decoders(finetuned), tiny, "x").state.keys()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.pop(DECODER + "iou_token.weight"), r"missing: mask_decoder\.iou_token\.weight"),
        (
            lambda s: s.update({DECODER + "iou_token.weight": torch.zeros(1, 2)}),
            r"is 1×2 float32, expected 1×144",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), r"unexpected: mask_decoder\.extra"),
    ],
)
def test_a_decoder_that_does_not_fit_gets_a_report(tiny, finetuned, spoil, complaint):
    state = decoders(finetuned)
    spoil(state)
    with pytest.raises(WeightsError, match=complaint):
        take(state, tiny, "x")


def test_a_model_of_other_regions_is_no_expert_of_this_base(tiny, random_state):
    with pytest.raises(WeightsError, match="sees regions of 16 voxels and its base of 64"):
        take(random_state(), tiny, "x")


def test_an_experts_decoder_is_frozen_answers_with_its_own_tensors_and_leaves_the_base_alone(tiny, finetuned):
    before = fingerprint(tiny)
    decoder = decoder_of(decoders(finetuned), tiny, "x")
    assert fingerprint(decoder) == fingerprint(build_model(finetuned, tiny.sizes).mask_decoder)
    assert not decoder.training and not any(p.requires_grad for p in decoder.parameters())
    assert fingerprint(tiny) == before


def test_a_full_model_is_not_taken_for_a_decoder(tiny, finetuned):
    finetuned["image_encoder.pos_embed"] += 1
    with pytest.raises(CardError, match="a whole model with its own encoder"):
        decoder_of(finetuned, tiny, "x")


LAYER = "output_upscaling.0"


def test_deltas_belong_to_layers_and_have_their_rank(tiny):
    state = {f"{LAYER}.up": torch.zeros(144, 4), f"{LAYER}.down": torch.zeros(4, 288)}
    assert take_lora(state, tiny, Lora(rank=4, alpha=8.0), "x").kind == "lora"
    with pytest.raises(
        WeightsError, match=r"x: the delta of output_upscaling\.0 has rank 4, and the card says 2"
    ):
        take_lora(state, tiny, Lora(rank=4, alpha=8.0, per_layer={LAYER: 2}), "x")
    with pytest.raises(WeightsError, match=r"x: no low-rank delta for output_downscaling\.0"):
        other = {"output_downscaling.0.up": torch.zeros(4, 4), "output_downscaling.0.down": torch.zeros(4, 4)}
        take_lora(other, tiny, Lora(rank=4, alpha=8.0), "x")
    with pytest.raises(WeightsError, match=r"x: output_upscaling\.0\.up: is not half of a delta"):
        take_lora({f"{LAYER}.up": torch.zeros(144, 4)}, tiny, Lora(rank=4, alpha=8.0), "x")
    with pytest.raises(WeightsError, match=r"x: output_upscaling\.0\.down has shape \(4, 8\)"):
        take_lora(state | {f"{LAYER}.down": torch.zeros(4, 8)}, tiny, Lora(rank=4, alpha=8.0), "x")
    with pytest.raises(WeightsError, match=r"has no deltas of output_upscaling\.3, though"):
        take_lora(state, tiny, Lora(rank=4, alpha=8.0, per_layer={"output_upscaling.3": 4}), "x")


def test_what_a_training_stores_of_its_deltas_is_taken(tiny):
    state = lora_state(add_lora(tiny.mask_decoder, lora_ranks(tiny.mask_decoder, 2, {LAYER: 3}), 4.0))
    assert (
        take_lora(state, tiny, Lora(rank=2, alpha=4.0, per_layer={LAYER: 3}), "x").state.keys()
        == state.keys()
    )
