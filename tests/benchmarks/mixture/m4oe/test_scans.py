"""A scan is seen as `segment` has it, as its own data set's, and by its own expert."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.mixture.m4oe.networks import KnownExpert, Watched, routed
from benchmarks.mixture.m4oe.scans import Job, Seen, choices, jobs, known_cases, see
from sam_moe.assemble.load import load_automatic
from sam_moe.evaluation.challenge.challenge import open_case
from sam_moe.evaluation.scoring.metrics import dice
from sam_moe.predict.automatic.asking import Automatic
from tests.benchmarks.mixture.m4oe.tiny import write_challenge, write_data
from tests.systems.m4oe.automatics import write_automatic


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_automatic(write_automatic(tmp_path_factory.mktemp("model")).folder, device="cpu")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder / "data")
    return known_cases(write_challenge(folder), folder)


def test_the_scans_are_those_of_the_challenge_with_their_modality(cases):
    assert jobs(cases, foreign=False) == [
        Job(f"{name}-{case}", modality, number)
        for number, (name, case, modality) in enumerate(
            [("neck", "d", "CT"), ("neck", "e", "CT"), ("brain", "d", "MR T1"), ("brain", "e", "MR T1")]
        )
    ]


@pytest.mark.parametrize("number", [0, 2])
def test_a_scan_has_dice_in_three_ways_and_a_choice_for_each_slice(model, cases, number):
    seen = see(model, jobs(cases, foreign=False)[number], cases)
    case, own = cases[number], cases[number].strata["set"]
    opened = open_case(case)
    session = model.open(opened.scan)
    alone, given = session.segment(), session.segment(own)
    assert (seen.own, seen.taken) == (own, alone.likeness.taken.id)
    assert seen.distance == pytest.approx(alone.likeness.distance)
    values = {name: value for value, name in given.names.items()}
    for name, truth in opened.truths.items():
        wanted = dice(truth.array.numpy().astype(bool), given.labels.numpy() == values[name])
        assert seen.gated[name] == pytest.approx(wanted)
        assert seen.alone[name] == (pytest.approx(wanted) if seen.taken == own else 0)
    for place, shares in given.shares.items():
        found = dict(zip(("ct", "mr"), seen.weights[place], strict=True))
        assert found == pytest.approx(dict(shares), abs=1e-5)
        assert set(seen.chosen[place]) <= {"0", "1"}
    assert set(seen.chosen) == {"", *given.shares} and len({len(own) for own in seen.chosen.values()}) == 1
    assert seen.seconds > 0
    assert Seen.of_json(json.loads(json.dumps(seen.as_json()))) == seen


def test_of_a_foreign_scan_only_the_likeness_is_seen(model, cases):
    seen = see(model, Job("limb", "MR T1", image=str(cases[0].images["image"])), cases)
    assert seen.own == "" and seen.alone == {} and seen.chosen == {}
    assert seen.taken == see(model, jobs(cases, foreign=False)[0], cases).taken


def test_the_known_expert_answers_alone(model, cases):
    """With gates that are sure of an expert, it is that expert's answer to the bit."""
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    known = KnownExpert(model.network)
    assert isinstance(known, Automatic) and known.sets == model.network.sets
    _, routing = known.answer(images, 1)
    for found in routing.values():
        assert torch.equal(found.weights, torch.tensor([[0.0, 1.0]]).expand(5, 2))
    scan = open_case(cases[0]).scan
    forced = replace(model, network=known).open(scan).segment("brain")
    assert not np.array_equal(forced.labels, model.open(scan).segment("brain").labels)
    assert forced.shares == {place: {"mr": 1.0, "ct": 0.0} for place in forced.shares}
    assert torch.equal(known.look(images), model.network.look(images))


def test_what_is_watched_is_the_networks_own_answer(model):
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    watched = Watched(model.network)
    assert isinstance(watched, Automatic)
    logits, routing = watched.answer(images, 0)
    assert torch.equal(logits, model.network.answer(images, 0)[0])
    watched.answer(images[:2], 0)
    kept = watched.taken()
    assert set(kept) == set(routing) and watched.taken() == {}
    for place, weights in kept.items():
        assert weights.shape == (7, 2) and torch.equal(weights[:5], routing[place].weights)


def test_a_slice_that_shows_nothing_is_routed_nowhere_and_not_counted():
    weights = {"a": torch.tensor([[0.5, 0.5], [0.0, 0.0], [1.0, 0.0]])}
    assert torch.equal(routed(weights)["a"], weights["a"][[0, 2]])


def test_choices_of_all_places_together_are_those_of_the_summed_weights():
    weights = {
        "a": torch.tensor([[0.6, 0.4], [0.9, 0.1]]),
        "b": torch.tensor([[0.1, 0.9], [0.4, 0.6]]),
    }
    assert choices(weights) == {"a": "00", "b": "11", "": "10"}
    assert choices({}) == {}
