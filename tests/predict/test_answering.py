"""One question on one region."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sam_moe.errors import PromptError
from sam_moe.hosts.sam3d.lowering import lower_box
from sam_moe.predict.answering import Answer, ask, coarse
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.space.grid import Grid

REGION = Grid.around((0, 0, 0), (32, 32, 32), (1.5, 1.5, 1.5))


@pytest.fixture
def embedding(generator):
    return torch.randn(1, 48, 4, 4, 4, generator=generator)


def at(index):
    return tuple(REGION.world_of(index))


def test_a_click_in_millimetres_is_the_reference_call_with_a_zero_mask(network, promptable, embedding):
    found = ask(promptable, embedding, REGION, Prompt((Point(at((3, 20, 9)), space="mm"),)))
    tokens = network.encode_prompt(
        torch.tensor([[[3.0, 20.0, 9.0]]]), torch.tensor([[1]]), None, torch.zeros(1, 1, 16, 16, 16)
    )
    torch.testing.assert_close(found.logits, network.decode(embedding, tokens)[0, 0], atol=1e-5, rtol=0)


def test_all_clicks_accumulate_and_the_last_logits_are_fed_back(network, promptable, embedding):
    previous = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(1))
    prompt = Prompt((Point(at((3, 20, 9)), space="mm"), Point(at((30, 2, 2)), positive=False, space="mm")))
    found = ask(promptable, embedding, REGION, prompt, previous)
    tokens = network.encode_prompt(
        torch.tensor([[[3.0, 20.0, 9.0], [30.0, 2.0, 2.0]]]),
        torch.tensor([[1, 0]]),
        None,
        previous[None, None],
    )
    torch.testing.assert_close(found.logits, network.decode(embedding, tokens)[0, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", ["center", "mask", "corners"])
def test_a_box_is_lowered_by_the_strategy_that_was_named(network, promptable, embedding, strategy):
    box = Box(tuple(REGION.world_of([3.5, 5.5, 7.5])), tuple(REGION.world_of([11.5, 15.5, 23.5])), space="mm")
    lowering = replace(promptable, box_strategy=strategy)
    found = ask(lowering, embedding, REGION, Prompt((box,)))
    voxels = torch.tensor([[[4.0, 6.0, 8.0], [12.0, 16.0, 24.0]]])  # half-open
    lowered = lower_box(voxels, strategy, 32, 16)
    mask = torch.zeros(1, 1, 16, 16, 16) if lowered.mask is None else lowered.mask
    tokens = network.encode_prompt(lowered.points, lowered.labels, lowered.boxes, mask)
    torch.testing.assert_close(found.logits, network.decode(embedding, tokens)[0, 0], atol=1e-4, rtol=0)


def test_a_click_outside_the_region_changes_nothing(promptable, embedding):
    """Its Fourier features would be those of no place that the network ever saw."""
    click, far = Point(at((3, 20, 9)), space="mm"), Point(at((3, 20, 70)), False, space="mm")
    alone = ask(promptable, embedding, REGION, Prompt((click,)))
    both = ask(promptable, embedding, REGION, Prompt((click, far)))
    assert torch.equal(both.logits, alone.logits)
    with pytest.raises(PromptError, match="no point or box lies in the region"):
        ask(promptable, embedding, REGION, Prompt((far,)))


def test_a_prompt_without_items_has_no_answer(promptable, embedding):
    with pytest.raises(PromptError, match="nothing to answer"):
        ask(promptable, embedding, REGION, Prompt())


def test_low_resolution_voxels_lie_in_the_middle_of_those_they_stand_for():
    low = coarse(REGION, (16, 16, 16))
    assert_allclose(REGION.index_of(low.world_of([0, 3, 15])), [0.5, 6.5, 30.5])


def test_logits_fed_to_the_same_region_stay_and_to_another_move_with_the_patient():
    logits = torch.full((16, 16, 16), -5.0)
    logits[8:10, 8:10, 8:10] = 5
    answer = Answer(logits, REGION)
    assert answer.fed_to(REGION) is logits
    wider = Grid.around((0, 0, 0), (32, 32, 32), (3, 3, 3))
    moved = answer.fed_to(wider)
    place = coarse(wider, (16, 16, 16)).index_of(coarse(REGION, (16, 16, 16)).world_of([8.5, 8.5, 8.5]))
    assert moved[tuple(np.rint(place).astype(int))] > 0
    assert moved[0, 0, 0] == -5 and (moved > 0).sum() <= 2
