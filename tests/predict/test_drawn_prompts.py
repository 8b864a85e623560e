"""Flat boxes, strokes and loops in a session: first, as corrections, mixed, on every plane."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_moe.errors import PromptError
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke
from sam_moe.prompts.lowering import Lowering, lower
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume

CLICK = Point((24, 24, 24))
SQUARE = ((20, 20, 24), (28, 20, 24), (28, 28, 24), (20, 28, 24))


@pytest.fixture
def scan(generator):
    return ball(generator)[0]


@pytest.fixture
def one_click(model):
    """A model that lowers everything drawn to one click."""
    return replace(model, lowering=Lowering(flat_box="middle", stroke="middle", loop="deepest"))


def same(one, other):
    return torch.equal(one.answer.array, other.answer.array)


@pytest.mark.parametrize("axis", range(3))
def test_a_flat_box_answers_as_its_middle_on_every_plane(one_click, scan, axis):
    start, stop = [20, 20, 20], [29, 29, 29]
    start[axis], stop[axis] = 24, 25
    session = one_click.open(scan)
    found = session.predict(Box(tuple(start), tuple(stop)))
    assert found.prompt == Prompt((Box(tuple(start), tuple(stop)),))  # the record keeps what was drawn
    assert same(found, one_click.open(scan).predict(CLICK))
    stop[axis] = 24  # as viewers give it
    assert same(session.predict(Box(tuple(start), tuple(stop))), found)


def test_the_models_rule_lowers_and_a_box_given_as_not_flat_is_none(model, one_click, scan):
    flat = Box((20, 20, 24), (29, 29, 25))
    as_it_is = replace(model, lowering=Lowering(flat_box="box")).open(scan).predict(flat)
    solid = one_click.open(scan).predict(replace(flat, flat=False))
    assert same(as_it_is, solid)
    assert not same(as_it_is, one_click.open(scan).predict(flat))
    deep = replace(model, lowering=Lowering(flat_box="deep")).open(scan).predict(flat)
    assert same(deep, one_click.open(scan).predict(Box((20, 20, 20), (29, 29, 29))))


def test_strokes_and_loops_begin_a_target_and_correct_it(one_click, scan):
    stroke, aside = Stroke(((20, 24, 24), (28, 24, 24))), Loop(SQUARE, positive=False)
    session, clicked = one_click.open(scan), one_click.open(scan)
    found, expected = session.predict(stroke), clicked.predict(CLICK)
    # the middle of a line that runs from 20 to 28 is 24 to rounding
    torch.testing.assert_close(found.answer.array, expected.answer.array, atol=1e-4, rtol=0)
    (place,) = lower(Prompt((aside,)), scan.grid.affine, scan.grid.shape)
    assert not place.positive
    one, other = session.refine(aside), clicked.refine(place)
    torch.testing.assert_close(one.answer.array, other.answer.array, atol=1e-4, rtol=0)
    assert session.refine(Box((18, 18, 22), (30, 30, 23))).prompt.items[-1].flat is None
    assert len(session.prompt) == 3
    assert same(session.undo(), one)
    session.undo()
    assert session.undo() is None


def test_what_is_drawn_mixes_with_points_and_with_millimetres(one_click, scan):
    items = (CLICK, Box((20, 20, 24), (29, 29, 25)), Stroke(SQUARE[:2], positive=False))
    found = one_click.open(scan).predict(*items)
    world = Prompt(items).in_mm(scan.grid.affine)
    again = one_click.open(scan).predict(items[0], *world.items[1:])
    torch.testing.assert_close(found.answer.array, again.answer.array, atol=1e-4, rtol=0)


def test_several_targets_may_be_drawn(one_click, scan):
    drawn = {"left": Prompt((Loop(SQUARE),)), "right": Prompt((Box((30, 20, 20), (31, 29, 29)),))}
    found = one_click.open(scan).predict_targets(drawn)
    assert found.names == {1: "left", 2: "right"}
    assert {name: made.prompt for name, made in found.predictions.items()} == drawn


def test_a_box_in_a_scan_of_one_slice_is_the_box_it_is(one_click, scan):
    single = Volume(scan.array[:, :, 24:25].contiguous(), Grid(scan.grid.affine, (*scan.grid.shape[:2], 1)))
    box = Box((20, 20, 0), (29, 29, 1))
    session = one_click.open(single)
    found = session.predict(box)
    assert found.mask.shape == single.grid.shape
    assert same(found, session.predict(replace(box, flat=False)))


@pytest.mark.parametrize("item", [Stroke(SQUARE, positive=False), Loop(SQUARE, positive=False)])
def test_a_negative_drawing_alone_is_met_as_a_negative_click_is(model, scan, item):
    outcomes = []
    for first in (Point((24, 24, 24), positive=False), item):
        session = model.open(scan)
        try:
            outcomes.append((session.predict(first).voxels, len(session.prompt)))
        except PromptError as error:
            outcomes.append((str(error), len(session.prompt)))
    assert outcomes[0] == outcomes[1]


def test_a_drawing_outside_the_scan_is_met_in_words_or_emptily(model, scan):
    outside = np.add(SQUARE, (900, 0, 0))
    for item in (Stroke(tuple(map(tuple, outside.tolist()))), Box((900, 0, 0), (901, 9, 9))):
        session = model.open(scan)
        try:
            assert session.predict(item).voxels == 0
        except PromptError as error:
            assert "outside the volume" in str(error)
            assert session.prompt == Prompt()
