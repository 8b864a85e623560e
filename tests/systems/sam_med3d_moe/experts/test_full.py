"""An expert with an encoder of its own is a whole model, for regions of its base's size."""

from dataclasses import asdict

import pytest
import torch

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.loading import build_model
from sam_moe.systems.sam_med3d_moe.experts.full import Full
from sam_moe.weights.checksums import fingerprint

KIND = Full()


@pytest.fixture
def own(finetuned):
    """A model whose encoder is another than the base's."""
    finetuned["image_encoder.pos_embed"] += 1
    return finetuned


def test_all_tensors_are_kept_and_show_their_sizes(tiny, own):
    taken = KIND.take(own, tiny, None, "x")
    assert taken.keys() == own.keys()
    assert KIND.known(taken, tiny, "x") == {"architecture": asdict(tiny.sizes)}


def test_a_model_of_other_regions_is_no_expert_of_this_base(tiny, random_state):
    with pytest.raises(WeightsError, match="sees regions of 16 voxels and its base of 64"):
        KIND.take(random_state(), tiny, None, "x")


def test_the_model_is_built_of_its_cards_architecture(tiny, own, expert_card):
    card = expert_card(expert_kind="full", architecture=asdict(tiny.sizes))
    KIND.check(card, own, "x")
    assert fingerprint(KIND.build(own, tiny, card, "x")) == fingerprint(build_model(own, tiny.sizes))
    deeper = expert_card(expert_kind="full", architecture=asdict(tiny.sizes) | {"decoder_depth": 3})
    with pytest.raises(WeightsError, match="does not fit the model"):
        KIND.check(deeper, own, "x")


def test_a_base_with_corners_wants_experts_with_corners(corners_state, random_state, expert_card):
    base = build_model(corners_state)
    state = random_state()
    card = expert_card(expert_kind="full", architecture=asdict(build_model(state).sizes))
    with pytest.raises(WeightsError, match="has no corner embeddings, and its base tiny takes boxes by"):
        KIND.build(state, base, card, "x")
    assert torch.is_tensor(state["image_encoder.pos_embed"])
