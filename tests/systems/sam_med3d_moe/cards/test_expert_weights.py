"""What a checkpoint is to a backbone its tensors show, or its card says."""

import pytest
import torch

from sam_moe.errors import ConfigError, WeightsError
from sam_moe.systems.sam_med3d_moe.cards.expert_weights import take
from sam_moe.systems.sam_med3d_moe.experts import load_kind

LAYER = "output_upscaling.0"


def test_a_model_with_the_bases_encoders_is_a_decoder(tiny, finetuned):
    taken = take(finetuned, tiny, "x")
    assert taken.known() == {"expert_kind": "decoder"}
    assert all(name.startswith("mask_decoder.") for name in taken.state)


@pytest.mark.parametrize("name", ["image_encoder.pos_embed", "prompt_encoder.no_mask_embed.weight"])
def test_a_model_with_anything_else_of_its_own_is_full(tiny, finetuned, name):
    finetuned[name] = finetuned[name] + 1
    taken = take(finetuned, tiny, "x")
    assert taken.kind == "full" and taken.known()["architecture"]["embed_dim"] == tiny.sizes.embed_dim
    assert taken.state.keys() == finetuned.keys()


def test_what_tensors_show_is_read_off_them_whatever_their_card_names(tiny, finetuned, expert_card):
    assert take(finetuned, tiny, "x", expert_card(expert_kind="decoder")).kind == "decoder"
    finetuned["image_encoder.pos_embed"] += 1
    assert take(finetuned, tiny, "x", expert_card(expert_kind="decoder")).kind == "full"


def test_deltas_are_a_kind_that_only_their_card_shows(tiny, expert_card):
    state = {f"{LAYER}.up": torch.zeros(144, 4), f"{LAYER}.down": torch.zeros(4, 288)}
    card = expert_card(expert_kind="lora", lora={"rank": 4, "alpha": 8.0})
    assert take(state, tiny, "x", card).known() == {"expert_kind": "lora"}
    with pytest.raises(WeightsError, match="does not fit the decoder of its base"):
        take(state, tiny, "x")


def test_adapters_without_their_configuration_are_refused_also_within_a_whole_model(tiny, finetuned):
    finetuned["image_encoder.blocks.0.attn.qkv.lora_A.weight"] = torch.zeros(2, 96)
    with pytest.raises(WeightsError, match="holds low-rank deltas"):
        take(finetuned, tiny, "x")


@pytest.mark.usefixtures("other_kinds")
def test_another_packages_kind_is_shown_by_its_tensors_with_and_without_a_card(tiny, finetuned, expert_card):
    state = {f"scaled.{name}": tensor for name, tensor in tiny.mask_decoder.state_dict().items()}
    assert take(state, tiny, "x", expert_card(expert_kind="scaled")).kind == "scaled"
    assert take(finetuned, tiny, "x", expert_card(expert_kind="scaled")).kind == "decoder"


@pytest.mark.parametrize("other_kinds", ["mute"], indirect=True)
def test_a_kind_that_its_tensors_show_must_look_at_them(other_kinds):
    with pytest.raises(ConfigError, match="expert kind 'mute' has `shows` and no `recognises`"):
        load_kind("mute")
