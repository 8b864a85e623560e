"""Validation asks the same of the same regions, always."""

from dataclasses import replace

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.lowering import lower_box
from sam_moe.space.upsampling import upsample
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.pretrain.validation import ModelValidation
from sam_moe.systems.sam_med3d_moe.prompted.conversation import dice_of
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Regions
from sam_moe.training.scans.prompting import boxes_around, click_inside, correcting_clicks

WAYS = ("click", "corners", "mask")
NAMES = [f"{way}{turn}" for turn in (1, 2, 3) for way in WAYS]


def held_out(scans):
    return Regions(scans, Cut(16), 7, appearance=Appearance(0.0))


def test_figures_are_named_by_way_and_round_and_the_score_is_their_mean(scans, sizes):
    figures = ModelValidation(lambda: scans, held_out, 9, sizes)(fresh_model(sizes, 0).state_dict())
    assert list(figures) == [*NAMES, "score"]
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["score"] == pytest.approx(sum(figures[name] for name in NAMES) / 9, abs=1e-4)


@pytest.mark.parametrize("strategy", ["mask", "center"])
def test_weights_without_corner_embeddings_are_measured_by_the_cards_strategy(scans, sizes, strategy):
    sizes = replace(sizes, corner_embeddings=False)
    validate = ModelValidation(lambda: scans, held_out, 9, sizes, box_strategy=strategy)
    figures = validate(fresh_model(sizes, 0).state_dict())
    assert list(figures) == [f"{way}{turn}" for turn in (1, 2, 3) for way in ("click", strategy)] + ["score"]


@pytest.mark.slow
def test_the_same_weights_have_the_same_figures_and_others_have_others(scans, sizes):
    validate = ModelValidation(lambda: scans, held_out, 9, sizes)
    weights = fresh_model(sizes, 0).state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    first = validate(weights)
    torch.rand(5)
    assert validate(weights) == first == ModelValidation(lambda: scans, held_out, 9, sizes)(weights)
    assert validate(fresh_model(sizes, 1).state_dict()) != first
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_figures_are_mean_dice_of_each_way_corrected_by_clicks(scans, sizes):
    stream = held_out(scans)
    images, targets = (torch.stack([stream[n][k] for n in range(4)]) for k in ("image", "target"))
    model, drawing = fresh_model(sizes, 0).eval(), torch.Generator().manual_seed(0)
    figures = ModelValidation(lambda: scans, held_out, 4, sizes)(model.state_dict())
    wanted = targets[:, 0].repeat(3, 1, 1, 1)
    coarse = wanted.float().view(12, 8, 2, 8, 2, 8, 2).mean(dim=(2, 4, 6)) >= 0.5
    boxes = boxes_around(wanted[4:], 0.03, drawing)
    click = click_inside(wanted[:4], 2, drawing, 0.9)[:, None]
    corners, drawn = lower_box(boxes[:4], "corners", 16, 8).boxes, lower_box(boxes[4:], "mask", 16, 8)
    ways = ((click, None), (torch.zeros(4, 0, 3), corners), (drawn.points, None))
    at, label = torch.zeros(12, 0, 3), torch.zeros(12, 0, dtype=torch.long)
    masks = torch.cat([torch.zeros(8, 1, 8, 8, 8), drawn.mask])
    for turn in range(3):
        logits = []
        for row, (name, (first, box)) in enumerate(zip(WAYS, ways, strict=True)):
            mine = slice(4 * row, 4 * row + 4)
            labels = torch.cat([torch.ones(first.shape[:2], dtype=torch.long), label[mine]], dim=1)
            with torch.no_grad():
                answer = model(images, torch.cat([first, at[mine]], dim=1), labels, box, masks[mine])
            dice = dice_of(upsample(answer[:, 0], 16), wanted[mine]).mean()
            assert figures[f"{name}{turn + 1}"] == pytest.approx(float(dice), abs=1e-4)
            logits.append(answer)
        masks = torch.cat(logits)
        more, kind = correcting_clicks(masks[:, 0], coarse, drawing)
        at, label = torch.cat([at, 2 * more + 0.5], dim=1), torch.cat([label, kind], dim=1)


def test_scans_are_read_once_and_only_when_figures_are_wanted(scans, sizes):
    reads = []
    validate = ModelValidation(lambda: reads.append(1) or scans, held_out, 2, sizes)
    assert reads == []
    for _ in range(2):
        validate(fresh_model(sizes, 0).state_dict())
    assert reads == [1]


def test_an_empty_validation_part_is_refused(sizes):
    with pytest.raises(ConfigError, match=r"set validation_crops to 0"):
        ModelValidation(lambda: [], held_out, 4, sizes)(fresh_model(sizes, 0).state_dict())
