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


@pytest.mark.parametrize(("logit", "dice"), [(1.0, 1.0), (-1.0, 0.0)])
def test_a_model_that_marks_all_or_nothing_scores_one_or_zero(batches, monkeypatch, logit, dice):
    model, drawn = batches
    low = model.sizes.low_res
    answer = staticmethod(lambda embedding, tokens: torch.full((len(embedding), 1, low, low, low), logit))
    monkeypatch.setattr(type(model), "decode", answer)
    figures = measure(model, drawn)
    assert figures == {f"{way}{n + 1}": dice for n in range(ROUNDS) for way in WAYS} | {"score": dice}


def test_the_same_prompts_are_given_at_every_call(batches):
    model, drawn = batches
    first = measure(model, drawn)
    torch.rand(3)
    assert measure(model, drawn) == first
