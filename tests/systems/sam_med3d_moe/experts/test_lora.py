"""An expert of low-rank deltas has the ranks that its card names, and is merged into a copy of the base."""

import pytest
import torch

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.lora import add_lora, lora_ranks, lora_state
from sam_moe.registry import LoraRanks as Ranks
from sam_moe.systems.sam_med3d_moe.experts.lora import Lora
from sam_moe.weights.checksums import fingerprint

KIND = Lora()
LAYER = "output_upscaling.0"


def test_deltas_belong_to_layers_and_have_their_rank(tiny):
    state = {f"{LAYER}.up": torch.zeros(144, 4), f"{LAYER}.down": torch.zeros(4, 288)}
    ranks = Ranks(rank=4, alpha=8.0)
    assert KIND.take(state, tiny, ranks, "x").keys() == state.keys()
    with pytest.raises(
        WeightsError, match=r"x: the delta of output_upscaling\.0 has rank 4, and the card says 2"
    ):
        KIND.take(state, tiny, Ranks(rank=4, alpha=8.0, per_layer={LAYER: 2}), "x")
    with pytest.raises(WeightsError, match=r"x: no low-rank delta for output_downscaling\.0"):
        other = {"output_downscaling.0.up": torch.zeros(4, 4), "output_downscaling.0.down": torch.zeros(4, 4)}
        KIND.take(other, tiny, ranks, "x")
    with pytest.raises(WeightsError, match=r"x: output_upscaling\.0\.up: is not half of a delta"):
        KIND.take({f"{LAYER}.up": torch.zeros(144, 4)}, tiny, ranks, "x")
    with pytest.raises(WeightsError, match=r"x: output_upscaling\.0\.down has shape \(4, 8\)"):
        KIND.take(state | {f"{LAYER}.down": torch.zeros(4, 8)}, tiny, ranks, "x")
    with pytest.raises(WeightsError, match=r"has no deltas of output_upscaling\.3, though"):
        KIND.take(state, tiny, Ranks(rank=4, alpha=8.0, per_layer={"output_upscaling.3": 4}), "x")


def test_what_a_training_stores_of_its_deltas_is_taken(tiny):
    state = lora_state(add_lora(tiny.mask_decoder, lora_ranks(tiny.mask_decoder, 2, {LAYER: 3}), 4.0))
    ranks = Ranks(rank=2, alpha=4.0, per_layer={LAYER: 3})
    assert KIND.take(state, tiny, ranks, "x").keys() == state.keys()


def test_deltas_are_merged_into_a_copy_scaled_by_alpha_over_rank(tiny, expert_card):
    before = fingerprint(tiny)
    state = {f"{LAYER}.up": torch.ones(144, 2), f"{LAYER}.down": torch.ones(2, 288)}
    card = expert_card(expert_kind="lora", lora={"rank": 2, "alpha": 4.0})
    built = KIND.build(state, tiny, card, "x").state_dict()
    own = tiny.mask_decoder.state_dict()
    # ones @ ones of rank 2 is 2 everywhere, times alpha / rank = 2
    torch.testing.assert_close(built[f"{LAYER}.weight"], own[f"{LAYER}.weight"] + 4.0)
    assert all(torch.equal(built[name], own[name]) for name in own if name != f"{LAYER}.weight")
    assert fingerprint(tiny) == before


def test_deltas_without_a_scale_are_refused(tiny):
    state = {"base_model.model.output_upscaling.0.lora_A.weight": torch.zeros(2, 288)}
    assert KIND.recognises(state, tiny)
    with pytest.raises(WeightsError, match=r"holds low-rank deltas .* not how they are scaled"):
        KIND.take(state, tiny, None, "x")


def test_only_an_adapters_folder_is_read_as_one(tmp_path):
    assert KIND.reads(tmp_path, None) is None
