"""M4oE as an automatic model: what prediction asks of it, and the profile of its gates."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sam_moe.predict.automatic.asking import Automatic
from sam_moe.predict.automatic.segmenting import answers
from sam_moe.registry import DataSet
from sam_moe.slices.stack import Stack
from sam_moe.space.grid import Grid
from sam_moe.systems.m4oe.answering import answer
from sam_moe.systems.m4oe.automatic import AutomaticM4oE
from sam_moe.systems.m4oe.references import distance
from tests.registry.conftest import make_automatic_card
from tests.systems.m4oe.tiny import CONV, SWIN, mixture_of, network, noise

SETS = tuple(DataSet.model_validate(each) for each in make_automatic_card()["sets"])


def automatic(sizes=CONV, references=None, **choices):
    model = network(sizes.model_copy(update={"classes": (3, 2)}), mixture_of(2, **choices))
    return AutomaticM4oE(model, SETS, references or {})


@pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])
def test_it_is_what_prediction_asks_for(sizes):
    one, images = automatic(sizes), noise(3, 3, 20, 37)
    assert isinstance(one, Automatic) and one.sets == SETS
    logits, found = one.answer(images, 1)
    assert logits.shape == (3, 2, 20, 37) and list(found) == list(one.module.sites())
    assert not any(parameter.requires_grad for parameter in one.module.parameters())
    assert not one.module.training


def test_a_profile_is_the_gates_logits_of_each_slice_less_each_places_mean():
    one, images = automatic(), noise(3, 3, 8, 8)
    profile = one.look(images)
    _, found = answer(one.module, images, 0)
    assert profile.shape == (3, 2 * len(found))
    for place, routing in enumerate(found.values()):
        part = profile[:, 2 * place : 2 * place + 2]
        torch.testing.assert_close(part.sum(dim=1), torch.zeros(3), rtol=0, atol=1e-5)
        torch.testing.assert_close(part[:, 0] - part[:, 1], routing.logits[:, 0] - routing.logits[:, 1])


def test_a_profile_does_not_depend_on_the_slices_beside_it():
    one, images = automatic(pooling="token"), noise(4, 3, 9, 10)
    torch.testing.assert_close(one.look(images)[[2]], one.look(images[[2]]), rtol=1e-3, atol=1e-5)


def test_without_gates_there_is_no_profile():
    one = AutomaticM4oE(network(CONV, mixture_of(1)), SETS, {})
    assert one.look(noise(2, 3, 8, 8)).shape == (2, 0)
    assert one.answer(noise(2, 3, 8, 8), 0)[1] == {}


def test_the_distance_is_to_the_sets_own_reference_or_unknown():
    mean, precision = torch.tensor([1.0, -1.0, 0, 0]), torch.eye(4)
    one, profile = automatic(references={"brain": (mean, precision)}), torch.tensor([1.0, 1.0, 0, 0])
    assert one.distance(profile, 0) is None
    assert one.distance(profile, 1) == distance(profile, mean, precision) == 1.0


def test_a_scan_that_shows_nothing_has_a_profile_of_noughts_and_so_a_distance():
    reference = {"neck": (torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.eye(4))}
    one = automatic(references=reference)
    profile = one.look(torch.full((2, 3, 9, 9), 7.0))
    assert torch.equal(profile, torch.zeros(2, 4)) and one.distance(profile.mean(dim=0), 0) == 1.0


@pytest.mark.parametrize(("blank", "total"), [(3, 1), (6, 0)])
def test_slices_that_show_nothing_count_for_no_experts_share(blank, total):
    """Of three blank slices two have blank neighbours alone."""
    one, array = automatic(), noise(9, 9, 6)
    array[:, :, :blank] = 0.0
    found = answers(one, Stack(array, Grid(np.eye(4), (9, 9, 6))), 0, chunk_pixels=81)
    assert list(found.shares) == list(one.module.sites())
    for shares in found.shares.values():
        assert sum(shares.values()) == pytest.approx(total)


def test_threads_share_it():
    one, images = automatic(), [noise(3, 3, 8, 8, seed=n) for n in range(4)]
    alone = [one.answer(each, 0)[0] for each in images]
    with ThreadPoolExecutor(4) as threads:
        both = list(threads.map(lambda each: one.answer(each, 0)[0], images))
    assert all(map(torch.equal, alone, both))
