"""Dice for each way to prompt and each round, by hand."""

import pytest
import torch

from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.measuring import ROUNDS, measure

WAYS = ("click", "corners", "mask")


@pytest.fixture
def batches(sizes):
    """Two batches of two regions, which are targets all over."""
    target = torch.ones(2, 1, 16, 16, 16, dtype=torch.bool)
    model = fresh_model(sizes, 0).eval()
    return model, [(model.encode(torch.zeros(2, 1, 16, 16, 16)).detach(), target)] * 2


@torch.no_grad()
def answer_always(model, logit):
    """Set a model's weights so that every voxel has about this logit, whatever the image and the prompt."""
    decoder = model.mask_decoder
    *_, last = (m for m in decoder.output_upscaling if isinstance(m, torch.nn.ConvTranspose3d))
    last.weight.zero_()
    last.bias.fill_(1.0)
    for mlp in decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight.zero_()
        mlp.layers[-1].bias.fill_(logit)


@pytest.mark.parametrize(("logit", "dice"), [(1.0, 1.0), (-1.0, 0.0)])
def test_a_model_that_marks_all_or_nothing_scores_one_or_zero(batches, logit, dice):
    model, drawn = batches
    answer_always(model, logit)
    figures = measure(model, drawn)
    assert figures == {f"{way}{n + 1}": dice for n in range(ROUNDS) for way in WAYS} | {"score": dice}


def test_the_same_prompts_are_given_at_every_call(batches):
    model, drawn = batches
    first = measure(model, drawn)
    torch.rand(3)
    assert measure(model, drawn) == first
