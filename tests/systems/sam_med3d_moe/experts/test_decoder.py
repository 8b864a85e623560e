"""An expert that is a decoder is taken out of a checkpoint and answers with its own tensors."""

import pytest
import torch

from sam_moe.errors import CardError, WeightsError
from sam_moe.hosts.sam3d.loading import build_model
from sam_moe.systems.sam_med3d_moe.experts.decoder import PREFIX, Decoder, is_bases
from sam_moe.weights.checksums import fingerprint

KIND = Decoder()


def decoders(state):
    return {name: tensor for name, tensor in state.items() if name.startswith(PREFIX)}


def test_of_a_whole_model_the_decoder_alone_is_taken(tiny, finetuned):
    taken = KIND.take(finetuned, tiny, None, "x")
    assert taken.keys() == decoders(finetuned).keys()
    assert all(torch.equal(tensor, finetuned[name]) for name, tensor in taken.items())


def test_a_decoders_names_may_lack_the_prefix(tiny, finetuned):
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in decoders(finetuned).items()}
    assert KIND.take(plain, tiny, None, "x").keys() == decoders(finetuned).keys()


def test_an_encoder_in_half_precision_is_still_the_bases_and_a_changed_voxel_is_not(tiny, finetuned):
    assert is_bases({name: tensor.half() for name, tensor in finetuned.items()}, tiny)
    finetuned["prompt_encoder.no_mask_embed.weight"] += 1
    assert not is_bases(finetuned, tiny)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.pop(PREFIX + "iou_token.weight"), r"missing: mask_decoder\.iou_token\.weight"),
        (
            lambda s: s.update({PREFIX + "iou_token.weight": torch.zeros(1, 2)}),
            r"is 1×2 float32, expected 1×144",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), r"unexpected: mask_decoder\.extra"),
    ],
)
def test_a_decoder_that_does_not_fit_gets_a_report(tiny, finetuned, spoil, complaint):
    state = decoders(finetuned)
    spoil(state)
    with pytest.raises(WeightsError, match=complaint):
        KIND.take(state, tiny, None, "x")


def test_a_decoder_is_frozen_answers_with_its_own_tensors_and_leaves_the_base_alone(
    tiny, finetuned, expert_card
):
    before = fingerprint(tiny)
    decoder = KIND.build(decoders(finetuned), tiny, expert_card(), "x")
    assert fingerprint(decoder) == fingerprint(build_model(finetuned, tiny.sizes).mask_decoder)
    assert not decoder.training and not any(p.requires_grad for p in decoder.parameters())
    assert fingerprint(tiny) == before


def test_a_full_model_is_not_taken_for_a_decoder(tiny, finetuned, expert_card):
    finetuned["image_encoder.pos_embed"] += 1
    with pytest.raises(CardError, match="a whole model with its own encoder"):
        KIND.build(finetuned, tiny, expert_card(), "x")
