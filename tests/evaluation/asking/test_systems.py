"""A model as a system under test: refused prompts leave no trace, and its card is noted."""

import numpy as np
import pytest

from sam_moe.assemble.load import load
from sam_moe.errors import CardError, ConfigError, PromptError
from sam_moe.evaluation.asking.systems import (
    AutomaticUnderTest,
    ModelUnderTest,
    SystemUnderTest,
    ask_models,
    ask_systems,
    describe,
)
from sam_moe.prompts import Box, Point
from sam_moe.registry import Entry
from sam_moe.registry.finding import find_model
from sam_moe.space.phantom import ball
from tests.systems.m4oe.automatics import write_automatic

pytestmark = pytest.mark.slow

HERE, THERE, OUTSIDE = Point((24, 24, 24)), Point((30, 24, 24)), Point((99, 24, 24))


@pytest.fixture(scope="module")
def model():
    return load("small", device="cpu")


@pytest.fixture
def opened(model, generator):
    system = ModelUnderTest(model, {})
    system.open(ball(generator)[0])
    return system


def test_it_answers_as_the_predictor_does(opened, model, generator):
    first, second = opened.answer((HERE,)), opened.answer((HERE, THERE))
    predictor = model.open(ball(generator.manual_seed(20_240_704))[0])
    assert np.array_equal(first.mask, predictor.predict(HERE).mask.numpy() > 0)
    assert np.array_equal(second.mask, predictor.refine(THERE).mask.numpy() > 0)
    assert first.mask.dtype == np.bool_ and first.answered == {}


def test_after_a_refusal_the_next_target_does_not_go_on_with_the_last(opened):
    alone = opened.answer((Box((10, 10, 10), (38, 38, 38)),)).mask
    opened.answer((HERE,))
    with pytest.raises(PromptError):
        opened.answer((OUTSIDE,))
    with pytest.raises(PromptError):
        opened.answer((OUTSIDE, HERE))  # not refined from the target before
    assert np.array_equal(opened.answer((Box((10, 10, 10), (38, 38, 38)),)).mask, alone)


def test_what_was_embedded_is_forgotten_with_the_scan(opened, generator):
    opened.answer((HERE,))
    opened.open(ball(generator)[0])
    assert not opened.session.predict(HERE).cached


def test_shared_embeddings_change_nothing_but_time(generator):
    scan = ball(generator)[0]
    alone = [*ask_models(["small", "esophagus"], "cpu")]
    shared = [*ask_models(["small", "esophagus"], "cpu", share_embeddings=True)]
    for one, other in zip(alone, shared, strict=True):
        one.open(scan)
        other.open(scan)
        assert np.array_equal(one.answer((HERE,)).mask, other.answer((HERE,)).mask)
    assert not alone[1].session.predict(THERE).cached and shared[1].session.cache is shared[0].session.cache
    shared[0].open(scan)
    assert shared[0].session.predict(HERE).cached
    assert shared[0].describe()["embeddings"].startswith("shared")


def test_a_mixture_says_who_answered_and_its_licence_is_its_parts(generator):
    (system,) = ask_models(["small-moe"], "cpu")
    assert isinstance(system, SystemUnderTest)
    system.open(ball(generator)[0])
    reply = system.answer((HERE,))
    assert sum(reply.answered.values()) == pytest.approx(1) and set(reply.answered) <= set(reply.confidence)
    assert system.describe()["licence"] == "CC-BY-SA-4.0"


def test_a_card_is_noted_with_its_checksum():
    noted = describe(find_model("small"))
    assert noted["id"] == "small" and len(noted["sha256"]) == 64
    public = describe(find_model("sam-med3d-turbo"))
    assert len(public["sha256"]) == 64  # of the file on the hub


def test_a_gate_with_another_threshold_is_another_system():
    """The same weights choose otherwise: what was answered before is no answer of it."""
    entry = find_model("small-moe")
    other = entry.card.model_copy(update={"threshold": 0.123})
    worded = entry.card.model_copy(update={"description": "in other words"})
    settings = [describe(Entry(card, entry.path))["settings"] for card in (entry.card, worded, other)]
    assert settings[0] == settings[1] != settings[2]


def test_unknown_and_repeated_systems_are_refused():
    with pytest.raises(CardError, match="small"):
        ask_models(["smal"])
    with pytest.raises(ConfigError, match="two systems are called small"):
        ask_models(["small", "small"])


def test_an_automatic_model_answers_for_all_structures_of_the_set_that_a_scan_is_like(tmp_path, generator):
    folder = write_automatic(tmp_path).folder
    small, system = ask_systems(["small", str(folder)], "cpu")
    assert isinstance(small, SystemUnderTest) and not isinstance(small, AutomaticUnderTest)
    assert isinstance(system, AutomaticUnderTest) and not isinstance(system, SystemUnderTest)
    assert system.structures == {"cord", "larynx", "hippocampus"} and system.describe()["id"] == "auto"
    scan = ball(generator)[0]
    with pytest.raises(PromptError, match="no scan is open"):
        system.segment(["cord"])
    system.open(scan)
    replies, found = system.segment(["cord"]), system.model.open(scan).segment()
    assert list(replies) == list(found.names.values())
    for value, name in found.names.items():
        assert np.array_equal(replies[name].mask, found.labels.numpy() == value)
        assert replies[name].mask.dtype == np.bool_ and replies[name].answered == found.experts
        assert replies[name].why == str(found.likeness)


def test_two_systems_of_one_id_are_refused_whatever_they_take(tmp_path):
    folder = str(write_automatic(tmp_path).folder)
    with pytest.raises(ConfigError, match="two systems are called auto"):
        ask_systems([folder, folder], "cpu")


def test_without_references_a_scan_is_taken_for_the_set_that_has_the_names(tmp_path, generator):
    folder = write_automatic(tmp_path, references=False).folder
    (system,) = ask_systems([str(folder)], "cpu")
    system.open(ball(generator)[0])
    assert set(system.segment(["hippocampus"])) == {"hippocampus"}
    replies = system.segment(["larynx", "skin"])
    assert set(replies) == {"cord", "larynx"}
    assert replies["cord"].why.startswith("taken for CT of the neck, as asked")
