"""Dice of whole scans: by hand for a network that answers one class everywhere."""

import numpy as np
import pytest
import torch

from sam_moe.registry import DataSet
from sam_moe.slices.stack import Stack
from sam_moe.space.grid import Grid
from sam_moe.systems.m4oe.train.validation import ScansValidation, dice
from sam_moe.training.slices.cache import Whole
from tests.registry.conftest import make_automatic_card
from tests.systems.m4oe.tiny import CONV, mixture_of, network, noise

SIZES = CONV.model_copy(update={"classes": (3, 2)})
NECK, BRAIN = (DataSet.model_validate(each) for each in make_automatic_card()["sets"])


def case(number, cord=0, larynx=0, contoured=(True, True, True)):
    """A scan of 6 x 5 x 3 voxels, the first of which are cord, then larynx (or hippocampus)."""
    labels = torch.zeros(90, dtype=torch.uint8)
    labels[:cord], labels[cord : cord + larynx] = 1, 2
    stack = Stack(noise(6, 5, 3), Grid(np.eye(4), (6, 5, 3)))
    return Whole(number, "one", stack, labels.reshape(6, 5, 3), contoured)


def weights_of(model, answer):
    """The model's weights with heads that answer one class everywhere."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for head in (0, 1):
        state[f"host.outputs.{head}.weight"].zero_()
        state[f"host.outputs.{head}.bias"].zero_()[answer] = 1
    return state


def measured(cases, answer=1, known=True):
    model = network(SIZES, mixture_of(2))
    return ScansValidation(model, lambda: cases, (NECK, BRAIN), known)(weights_of(model, answer))


@pytest.mark.parametrize("known", [True, False])
def test_all_cord_by_hand(known):
    """90 voxels answered: 2 * 30 / 120 = 0.5 and 2 * 18 / 108 = 1 / 3; no larynx where there are 10."""
    figures = measured([case(0, cord=30, larynx=10), case(0, cord=18, larynx=10)], known=known)
    assert figures == {
        "neck/cord": pytest.approx((0.5 + 1 / 3) / 2),
        "neck/larynx": 0.0,
        "neck": pytest.approx((0.5 + 1 / 3) / 4),
        "score": pytest.approx((0.5 + 1 / 3) / 4),
    }


def test_what_was_not_contoured_is_left_out():
    lacking = case(0, cord=18, contoured=(True, True, False))
    figures = measured([case(0, cord=30), lacking])
    assert figures["neck/cord"] == pytest.approx((0.5 + 1 / 3) / 2) and figures["neck/larynx"] == 1.0
    assert "neck/larynx" not in measured([lacking])


def test_the_score_is_the_mean_of_sets_not_of_structures():
    """Neck: cord 0.5, larynx 0; brain 1 / 3."""
    figures = measured([case(0, cord=30, larynx=10), case(1, cord=18, contoured=(True, True))])
    assert figures["brain"] == figures["brain/hippocampus"] == pytest.approx(1 / 3)
    assert figures["score"] == pytest.approx((0.25 + 1 / 3) / 2)


def test_without_cases_the_score_is_nought():
    assert measured([]) == {"score": 0.0}


def test_known_experts_answer_or_the_gates():
    model = network(SIZES, mixture_of(2))
    cases = [case(0, cord=40, larynx=10), case(1, cord=40, contoured=(True, True))]
    known, gated = (
        ScansValidation(network(SIZES, mixture_of(2)), lambda: cases, (NECK, BRAIN), known)(
            model.state_dict()
        )
        for known in (True, False)
    )
    assert known != gated


def test_dice_of_masks_by_hand():
    both = torch.tensor([True, True, False, False])[:, None, None]
    other = torch.tensor([True, False, True, True])[:, None, None]
    assert dice(both, other) == pytest.approx(2 / 5)
    assert dice(both, ~both) == 0.0 and dice(~both & both, ~both & both) == 1.0
