"""Low-rank deltas start at nothing, learn alone, are stored apart, and merge into the same answers."""

import copy

import pytest
import torch
from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.lora import add_lora, load_lora, lora_layers, lora_ranks, lora_state, merge
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.weights.checksums import fingerprint

SIZES = Sizes(image_size=16, patch_size=4, out_channels=48, decoder_mlp_dim=32, iou_hidden_dim=16)


@pytest.fixture
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    return MaskDecoder(SIZES).eval()


def answer(decoder: MaskDecoder) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    shapes = ((1, 48, 4, 4, 4), (1, 48, 4, 4, 4), (1, 2, 48), (1, 48, 4, 4, 4))
    return decoder(*(torch.randn(shape, generator=rng) for shape in shapes)).logits


def learn(decoder: MaskDecoder, steps: int = 2) -> None:
    step = torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        step.zero_grad()
        (answer(decoder) - 1).square().mean().backward()
        step.step()


@torch.no_grad()
def test_a_new_delta_changes_no_bit_and_the_original_stays(decoder):
    before = fingerprint(decoder)
    assert torch.equal(answer(add_lora(decoder, 2)), answer(decoder))
    assert fingerprint(decoder) == before


def test_every_delta_learns_and_nothing_else(decoder):
    tuned = add_lora(decoder, 2)
    kept = lora_state(tuned)
    learn(tuned)
    assert {n.rsplit(".", 1)[1] for n, p in tuned.named_parameters() if p.requires_grad} == {"up", "down"}
    assert "output_upscaling.3.up" in kept and "output_hypernetworks_mlps.1.layers.0.up" not in kept
    # The softmax does not see what is added to all keys alike, but weights differ: all learn.
    assert [n for n, tensor in lora_state(tuned).items() if torch.equal(tensor, kept[n])] == []
    for name, layer in lora_layers(decoder).items():
        now = lora_layers(tuned)[name]
        frozen = now.parametrizations.weight.original if hasattr(now, "parametrizations") else now.weight
        assert torch.equal(frozen, layer.weight), name


def test_ranks_are_one_for_all_that_are_asked_unless_a_layer_has_its_own(decoder):
    head, idle = "output_hypernetworks_mlps.0.layers.0", "output_hypernetworks_mlps.1.layers.0"
    ranks = lora_ranks(decoder, 2, {head: 5, idle: 1})
    assert ranks[head] == 5 and ranks[idle] == 1 and ranks["output_upscaling.0"] == 2
    assert not any(name.startswith("iou_prediction_head") for name in ranks)
    assert "output_hypernetworks_mlps.2.layers.0" not in ranks


def test_what_is_kept_between_clicks_follows_each_step_of_training(decoder):
    """Answers without gradients keep derived tensors; a step, and merging, must throw them away."""
    tuned = add_lora(
        decoder, {"output_upscaling.0": 1, "transformer.layers.1.cross_attn_token_to_image.k_proj": 3}
    )
    seen = []
    for _ in range(3):
        with torch.no_grad():
            seen.append(answer(tuned))
            assert torch.equal(seen[-1], answer(copy.deepcopy(tuned)))
        torch.testing.assert_close(answer(tuned).detach(), seen[-1])
        learn(tuned, 1)
    assert not torch.allclose(seen[0], seen[1]) and not torch.allclose(seen[1], seen[2])
    with torch.no_grad():
        last = answer(tuned)
        assert not torch.allclose(last, seen[-1])
        assert torch.equal(answer(merge(tuned)), last)


def test_a_merged_decoder_is_a_plain_one_with_the_same_answer(decoder):
    tuned = add_lora(decoder, 2, alpha=8)
    learn(tuned)
    plain = MaskDecoder(SIZES).eval()
    with torch.no_grad():
        expected = answer(tuned)
        plain.load_state_dict(merge(tuned).state_dict(), strict=True)
        assert torch.equal(answer(plain), expected)
        assert not torch.allclose(expected, answer(decoder))
    assert lora_state(tuned) == {}


def test_a_delta_is_its_two_factors_scaled_by_alpha_over_rank(decoder):
    name = "output_upscaling.0"
    up, down = torch.randn(48, 2), torch.randn(2, 12 * 8)
    tuned = merge(load_lora(decoder, {f"{name}.up": up, f"{name}.down": down}, alpha=6))
    delta = tuned.output_upscaling[0].weight - decoder.output_upscaling[0].weight
    torch.testing.assert_close(
        delta, 3 * torch.einsum("ir,rx->ix", up, down).view(48, 12, 2, 2, 2), rtol=1e-4, atol=1e-5
    )


def test_stored_deltas_give_the_same_answer_again(decoder):
    tuned = add_lora(decoder, 3, alpha=1.5)
    learn(tuned)
    again = load_lora(decoder, lora_state(tuned), alpha=1.5)
    with torch.no_grad():
        assert torch.equal(answer(again), answer(tuned))
    assert not any(p.requires_grad for p in again.parameters())


def test_deltas_that_do_not_fit_are_refused(decoder):
    with pytest.raises(WeightsError, match="output_upscaling"):
        add_lora(decoder, {"output_upscaling.1": 2})
    with pytest.raises(WeightsError, match="rank 0 for output_upscaling.0"):
        add_lora(decoder, {"output_upscaling.0": 0})
    up, down = torch.zeros(48, 2), torch.zeros(2, 8)
    with pytest.raises(WeightsError, match=r"output_upscaling.0.down has shape \(2, 8\).*needs \(2, 96\)"):
        load_lora(decoder, {"output_upscaling.0.up": up, "output_upscaling.0.down": down})
    with pytest.raises(WeightsError, match="not half of a delta"):
        load_lora(decoder, {"output_upscaling.0.up": up})
