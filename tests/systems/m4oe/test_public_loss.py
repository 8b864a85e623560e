"""The public code's loss, gradient and learning rates: its own numbers, and a few worked out by hand."""

import math

import pytest
import torch

from sam_moe.systems.m4oe.public_loss import public_loss, public_rate
from tests.hosts.swin_unet.public import difference, folders, read


@pytest.fixture(params=folders("cross_entropy", "dice_loss", "gradient"))
def variant(request):
    return read(request.param)


def rows(variant):
    vectors = variant.vectors
    classes = vectors["n_classes"].tolist()
    for row in range(len(classes)):
        yield row, vectors["logits"][row : row + 1], vectors["label"][row : row + 1], classes[row : row + 1]


def test_each_rows_terms_are_the_public_ones(variant):
    for row, logits, label, classes in rows(variant):
        entropy = public_loss(logits, label, classes, cross_entropy=1, dice=0)
        overlap = public_loss(logits, label, classes, cross_entropy=0, dice=1)
        assert difference(entropy, variant.vectors["cross_entropy"][row]) <= 1e-6
        assert difference(overlap, variant.vectors["dice_loss"][row]) <= 1e-6


def test_the_loss_and_its_gradient_are_the_public_ones(variant):
    vectors = variant.vectors
    logits, classes = vectors["logits"].clone().requires_grad_(), vectors["n_classes"].tolist()
    loss = public_loss(logits, vectors["label"], classes)
    loss.backward()
    assert difference(loss, vectors["total_train"][0]) <= 1e-6
    assert difference(logits.grad, vectors["gradient"]) <= 1e-7
    validation = public_loss(vectors["logits"], vectors["label"], classes, dice=0.6)
    assert difference(validation, vectors["total_validation"][0]) <= 1e-6


def test_learning_rates_lag_one_step_as_the_public_ones_do(variant):
    poly = variant.case["poly"]
    ours = [poly["base_lr"] * public_rate(step, poly["max_iterations"]) for step in range(6)]
    assert ours == pytest.approx(poly["lr_used_at_step_0..5"], rel=1e-12)


def test_the_rate_begins_twice_at_1_and_ends_just_above_0():
    assert public_rate(0, 100) == public_rate(1, 100) == 1
    assert public_rate(51, 100) == pytest.approx(0.5**0.9)
    assert public_rate(100, 100) == pytest.approx(0.01**0.9)


def test_certain_and_right_costs_nothing_and_certain_and_wrong_the_whole_dice():
    target = torch.tensor([[[0, 1], [1, 0]]])
    right = 200 * torch.nn.functional.one_hot(target, 2).permute(0, 3, 1, 2).float()
    assert public_loss(right, target, [2]).item() == pytest.approx(0, abs=1e-4)
    assert public_loss(right, 1 - target, [2], cross_entropy=0).item() == pytest.approx(0.7, abs=1e-4)


def test_an_absent_class_costs_its_whole_share_of_dice():
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    sure = torch.zeros(1, 2, 4, 4)
    sure[:, 0], sure[:, 1] = 5, -5
    prediction = 1 / (1 + math.exp(10))
    absent = 1 - 1e-5 / (16 * prediction**2 + 1e-5)
    assert public_loss(sure, target, [2], 0, 1).item() == pytest.approx(absent / 2, abs=1e-4)


def test_a_padded_class_counts_for_nothing():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 3, 3, generator=generator)
    target = torch.randint(0, 2, (1, 3, 3), generator=generator)
    assert public_loss(logits, target, [2]) == public_loss(logits[:, :2], target, [2])


def test_a_row_that_is_all_outside_has_a_finite_loss_that_teaches():
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = public_loss(logits, torch.full((1, 2, 2), -1), [2])
    loss.backward()
    assert loss.item() == pytest.approx(0.7, abs=1e-3)
    assert logits.grad.isfinite().all()
