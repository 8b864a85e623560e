"""Validation asks the same of the same regions, always."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.training.general import PromptedLoss, Regions, dice_of, fresh_model
from sam_moe.training.validation import Validation

NAMES = [f"{way}{turn}" for turn in (1, 2, 3) for way in ("click", "corners", "mask")]


def test_figures_are_named_by_way_and_round_and_the_score_is_their_mean(scans, sizes):
    figures = Validation(lambda: scans, sizes, 9)(fresh_model(sizes, 0).state_dict())
    assert list(figures) == [*NAMES, "score"]
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["score"] == pytest.approx(sum(figures[name] for name in NAMES) / 9, abs=1e-4)


@pytest.mark.slow
def test_the_same_weights_have_the_same_figures_and_others_have_others(scans, sizes):
    validate = Validation(lambda: scans, sizes, 9)
    weights = fresh_model(sizes, 0).state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    first = validate(weights)
    torch.rand(5)
    assert validate(weights) == first == Validation(lambda: scans, sizes, 9)(weights)
    assert validate(fresh_model(sizes, 1).state_dict()) != first
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_figures_are_mean_dice_of_each_way(scans, sizes):
    stream = Regions(scans, 16, 7, 4, {}, 0.0, spoiled=False)
    images, targets = (torch.stack([stream[n][k] for n in range(4)]) for k in ("image", "target"))
    model = fresh_model(sizes, 0).eval()
    _, seen = PromptedLoss(model, 3, 0.03)(images, targets, torch.Generator().manual_seed(0))
    figures = Validation(lambda: scans, sizes, 4)(model.state_dict())
    for turn in range(3):
        for place, way in enumerate(("click", "corners", "mask")):
            dice = dice_of(seen[turn][4 * place : 4 * place + 4], targets).mean()
            assert figures[f"{way}{turn + 1}"] == pytest.approx(float(dice), abs=1e-4)


def test_scans_are_read_once_and_only_when_figures_are_wanted(scans, sizes):
    reads = []
    validate = Validation(lambda: reads.append(1) or scans, sizes, 2)
    assert reads == []
    for _ in range(2):
        validate(fresh_model(sizes, 0).state_dict())
    assert reads == [1]


def test_an_empty_validation_part_is_refused(sizes):
    with pytest.raises(ConfigError, match=r"set validation_crops to 0"):
        Validation(lambda: [], sizes, 4)(fresh_model(sizes, 0).state_dict())
