"""Answers of a session are recorded with their checksum and with whether an expert ran."""

from dataclasses import replace

import numpy as np
import pytest

import sam_moe
from benchmarks.mixture import answers, systems
from benchmarks.quality import blocks
from benchmarks.quality.protocol import Score
from sam_moe.moe.rules.forced import Forced
from sam_moe.prompts import Box, Point
from sam_moe.space.phantom import ball
from tests.predict.ruled import choosing

LIVER = blocks.Target(blocks.GENERAL, "set", "a", "a", "liver", "liver", (1,), 100)
HEART = replace(LIVER, block=blocks.OTHER, label="heart", structure="heart")


@pytest.fixture(scope="module")
def models():
    """The shipped mixture, the same with one expert forced, and its general model."""
    mixed, plain = sam_moe.load("small-moe", device="cpu"), sam_moe.load("small", device="cpu")
    return {
        "plain": plain,
        "general": choosing(mixed, Forced(0)),
        "expert": choosing(mixed, Forced(1)),
    }


@pytest.fixture
def scan(generator):
    return ball(generator)[0]


def middle(scan):
    return tuple(n // 2 for n in scan.grid.shape)


@pytest.mark.slow
def test_the_general_expert_alone_gives_the_plain_models_bits_and_is_recorded_as_alone(models, scan):
    points = [Point(middle(scan)), Point((2, 2, 2), positive=False)]
    recorded = {name: answers.RecordedSession(model.open(scan)) for name, model in models.items()}
    masks = {name: [one.clicks(points[:1]), one.clicks(points)] for name, one in recorded.items()}
    assert recorded["plain"].digests == recorded["general"].digests
    assert np.array_equal(masks["plain"], masks["general"])
    assert recorded["expert"].digests[0] != recorded["plain"].digests[0]
    assert recorded["general"].alone == [True, True] and recorded["expert"].alone == [False, False]
    assert recorded["plain"].alone == [None, None]  # no mixture
    assert len(recorded["general"].predictions) == 2


@pytest.mark.slow
def test_a_box_is_recorded_as_well(models, scan):
    at = np.array(middle(scan))
    recorded = answers.RecordedSession(models["general"].open(scan))
    mask = recorded.box(Box(tuple(map(int, at - 6)), tuple(map(int, at + 6))))
    assert mask.shape == scan.grid.shape and mask.dtype == bool
    assert recorded.alone == [True] and len(recorded.digests[0]) == 64


@pytest.mark.slow
def test_the_routing_that_stands_is_the_last_ones_so_far(models, scan):
    plain, mixed = (answers.RecordedSession(models[name].open(scan)) for name in ("plain", "general"))
    points = [Point(middle(scan)), Point((2, 2, 2), positive=False)]
    for session in (plain, mixed):
        for count in (1, 2):
            session.clicks(points[:count])
    score = Score("click5", 0.5, 1.0)  # fewer points than five were needed
    found = answers._answer(LIVER, systems.MIXTURE, score, mixed, plain, 5)
    assert found.experts == dict(mixed.predictions[-1].answered.experts)
    assert (found.general_alone, found.same_bits) == (True, True)
    assert (found.prompt, found.dice) == ("click5", 0.5)
    alone = answers._answer(LIVER, systems.GENERAL, score, plain, plain, 5)
    assert alone == answers.Answer(LIVER, systems.GENERAL, score)


def test_structures_of_no_expert_are_answered_by_the_general_model_and_the_gates(models):
    names = (systems.GENERAL, "esophagus", systems.ENSEMBLE, systems.IMAGE_GATE, systems.MIXTURE)
    every = systems.Systems(dict.fromkeys(names, models["plain"]), ("small", "esophagus"))
    assert answers._systems_for(LIVER, every) == list(names)
    assert answers._systems_for(HEART, every) == [systems.GENERAL, systems.IMAGE_GATE, systems.MIXTURE]
