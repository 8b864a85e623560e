"""The loss of labelled slices by hand, against MONAI's, and with organs that no one contoured."""

from math import log

import pytest
import torch
from monai.losses.dice import DiceCELoss
from torch.nn import functional as F

from sam_moe.systems.m4oe.train.losses import dice_loss, merged, segmentation_loss
from tests.systems.m4oe.tiny import noise

ALL = torch.ones(1, 3, dtype=torch.bool)


def labels(*shape, classes, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def loss_of(logits, target, contoured, sets=None, classes=None):
    sets = torch.zeros(len(logits), dtype=torch.long) if sets is None else torch.tensor(sets)
    return segmentation_loss(logits, target, contoured, sets, classes or (logits.shape[1],))


def test_two_pixels_by_hand():
    """Pixels of class 1 and 0, each with probability 3/4 for 1: cross-entropy (log 4/3 + log 4) / 2.

    Dice of class 1: 2 * 3/4 of 3/4 + 3/4 + 1, that is 1.5 / 2.5 = 0.6; its loss 0.4, the background left out.
    """
    logits = torch.tensor([0.0, log(3.0)])[None, :, None, None].expand(1, 2, 1, 2)
    target = torch.tensor([[[1, 0]]])
    cross_entropy = (log(4 / 3) + log(4)) / 2
    found = loss_of(logits, target, ALL[:, :2])
    torch.testing.assert_close(found, torch.tensor(cross_entropy + 0.4), rtol=0, atol=1e-4)
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor(0.4), rtol=0, atol=1e-4)


def test_one_set_with_all_contours_is_monais_loss():
    logits, target = noise(3, 4, 8, 8), labels(3, 8, 8, classes=4)
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    found = loss_of(logits, target, torch.ones(3, 4, dtype=torch.bool))
    torch.testing.assert_close(found, theirs(logits, target[:, None]))


def test_sets_are_weighed_by_their_rows_and_see_their_own_classes_alone():
    """Of four rows one is of set 1, whose head has two classes: a quarter of its loss, whatever fills up."""
    logits, target = noise(4, 3, 8, 8), labels(4, 8, 8, classes=2)
    contoured = torch.tensor([[True] * 3, [True, True, False], [True] * 3, [True] * 3])
    both = loss_of(logits, target, contoured, [0, 1, 0, 0], (3, 2))
    of_0 = loss_of(logits[[0, 2, 3]], target[[0, 2, 3]], contoured[[0, 2, 3]])
    of_1 = loss_of(logits[[1], :2], target[[1]], ALL[:, :2])
    torch.testing.assert_close(both, 0.75 * of_0 + 0.25 * of_1)
    other = logits.clone()
    other[1, 2] = 1e6
    torch.testing.assert_close(loss_of(other, target, contoured, [0, 1, 0, 0], (3, 2)), both)


def test_probability_of_what_was_not_contoured_goes_to_the_background():
    """Probabilities 0.5, 0.2, 0.3; the second class has no contours: 0.7, 0, 0.3."""
    logits = torch.tensor([0.5, 0.2, 0.3]).log()[None, :, None, None]
    found = merged(logits, torch.tensor([[True, False, True]])).softmax(dim=1)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.7, 0.0, 0.3]))
    found = merged(logits, torch.tensor([[True, False, False]])).softmax(dim=1)
    torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 0.0, 0.0]))


def test_rows_with_all_contours_keep_their_logits():
    logits = noise(2, 3, 4, 4)
    assert merged(logits, torch.ones(2, 3, dtype=torch.bool)) is logits
    found = merged(logits, torch.tensor([[True, True, True], [True, False, True]]))
    torch.testing.assert_close(found[0], logits[0])
    torch.testing.assert_close(found.softmax(1)[1, 2], logits.softmax(1)[1, 2])


def test_an_answer_of_what_was_not_contoured_costs_nothing_and_is_not_taught():
    """The head is as free to answer the organ as the background, pixel by pixel."""
    target, contoured = labels(1, 8, 8, classes=2), torch.tensor([[True, True, False]])
    logits = noise(1, 3, 8, 8).requires_grad_()
    other = logits.detach().clone()
    background, organ = other[:, 0].clone(), other[:, 2].clone()
    other[:, 0], other[:, 2] = organ, background
    loss = loss_of(logits, target, contoured)
    torch.testing.assert_close(loss_of(other, target, contoured), loss)
    loss.backward()
    share = logits.detach()[:, [0, 2]].softmax(dim=1)  # the gradient is divided as the probability is
    whole = logits.grad[:, [0, 2]].sum(dim=1, keepdim=True)
    torch.testing.assert_close(logits.grad[:, [0, 2]], share * whole, rtol=1e-4, atol=1e-7)


def test_dice_is_of_the_classes_that_are_shown_over_all_rows_at_once():
    """Class 2 is nowhere and left out; class 1, in one row alone, counts the answers in both."""
    logits = noise(2, 3, 6, 6)
    target = torch.zeros(2, 6, 6, dtype=torch.long)
    target[0, 2:4, 2:4] = 1
    p = logits.softmax(dim=1)[:, 1]
    inside = float(p[target == 1].sum())
    by_hand = 1 - 2 * inside / (float(p.sum()) + 4)
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor(by_hand), rtol=0, atol=1e-5)


def test_a_batch_without_any_organ_has_the_cross_entropy_alone():
    logits, target = noise(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    assert dice_loss(logits, target) == 0
    torch.testing.assert_close(
        loss_of(logits, target, torch.ones(2, 3, dtype=torch.bool)), F.cross_entropy(logits, target)
    )


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("without", [(), (1,), (1, 2)])
def test_gradients_are_finite_and_reach_every_class_that_counts(without, scale):
    logits = (scale * noise(2, 3, 8, 8)).requires_grad_()
    contoured = torch.ones(2, 3, dtype=torch.bool)
    contoured[0, list(without)] = False
    target = labels(2, 8, 8, classes=3)
    for n in without:
        target[0][target[0] == n] = 0
    loss = loss_of(logits, target, contoured)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert all(logits.grad[1, n].any() for n in range(3))
    known = [n for n in range(3) if n not in without]
    assert all(logits.grad[0, n].any() for n in known) == (len(known) > 1)  # one class alone is always right
