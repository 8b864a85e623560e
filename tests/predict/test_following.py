"""Which regions of a scan a target is answered on, and what is embedded for that."""

from dataclasses import replace

import pytest
import torch

from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.predict.answered import answered_by
from sam_moe.predict.answering import choose
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.following import Follower
from sam_moe.predict.model import Model
from sam_moe.predict.regions.where import region_for
from sam_moe.predict.timing import Cost
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball, two_regions
from sam_moe.space.volume import Volume
from tests.predict.ruled import choosing

CLICK = Point((24, 24, 24))


@pytest.fixture
def follower(model, scan):
    """Answers on the scan, one region a target."""
    return Follower(replace(model, whole_targets=False), scan, "a scan", 0.0, EmbeddingCache())


def in_mm(scan, *items):
    return Prompt(items).in_mm(scan.grid.affine)


def test_a_turn_is_answered_where_its_prompt_asks_for_or_in_a_region_that_is_given(follower, model, scan):
    world, cost = in_mm(scan, CLICK), Cost()
    turn, known = follower.turn(world, None, None, cost)
    assert turn.home.same_as(region_for(world, model.preprocessing)) and not known
    assert not turn.zoomed_out and {"cut", "encode", "decode"} == cost.timings.keys()
    given = Grid.around(world.points[0].at, (32, 32, 32), (2.0, 2.0, 2.0))
    other, _ = follower.turn(world, None, given, Cost())
    assert other.home.same_as(given) and other.answer.region.same_as(given)


def test_a_turn_goes_on_where_the_last_one_was_answered_as_long_as_its_items_lie_there(follower, scan):
    first, _ = follower.turn(in_mm(scan, CLICK), None, None, Cost())
    near, known = follower.turn(in_mm(scan, CLICK, Point((28, 20, 24))), first, None, Cost())
    assert known and near.home.same_as(first.home)
    far, known = follower.turn(in_mm(scan, CLICK, Point((2, 2, 2))), first, None, Cost())
    assert not known and not far.home.same_as(first.home)


def test_a_prompt_of_negative_points_alone_is_an_empty_turn_without_any_work(follower, scan, encodings):
    world, cost = in_mm(scan, Point((24, 24, 24), positive=False)), Cost()
    turn, known = follower.turn(world, None, None, cost)
    assert turn.empty and turn.answer is None and known and not encodings and not cost.timings
    nothing = follower.probability(turn, world, cost)
    assert nothing.grid.same_as(turn.home) and nothing.array.max() == 0


def test_a_second_click_on_the_same_region_is_not_encoded_again(narrow, encodings):
    assert not narrow.predict(CLICK).cached
    again = narrow.refine(Point((26, 24, 22), positive=False))
    assert again.cached and len(encodings) == 1
    assert narrow.predict(CLICK).cached and len(encodings) == 1


def test_a_new_scan_is_encoded_anew_and_the_first_one_is_remembered(model, generator, encodings):
    model = replace(model, whole_targets=False)
    one, two = ball(generator)[0], ball(generator)[0]
    assert not model.open(one).predict(CLICK).cached
    assert not model.open(two).predict(CLICK).cached
    assert model.open(one).predict(CLICK).cached and len(encodings) == 2


def test_a_cache_is_shared_by_those_who_would_encode_alike(network, preprocessing, scan, encodings):
    cache = EmbeddingCache()

    def answer(card, normalisation):
        promptable = PromptableSam3D(network, normalisation, "mask", "e")
        model = Model(promptable, card, "one", cache=cache, whole_targets=False)
        return model.open(scan).predict(CLICK)

    answer(preprocessing, "positive")
    assert len(cache) == len(encodings) == 1
    assert answer(preprocessing, "positive").cached and len(encodings) == 1
    answer(preprocessing, "mean")
    answer(preprocessing.model_copy(update={"spacing_mm": 2.0}), "positive")
    assert len(encodings) == 3


def test_the_reference_preprocessing_and_padding_are_kept_for_public_weights(network, narrow, scan):
    """Region of the scan at 1.5 mm, padded with 0, z-scored over voxels above 0; worked out here by hand."""
    seen = []
    network.image_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    narrow.predict(Point((2, 24, 24)))
    padded = torch.zeros(32, 32, 32)
    padded[14:] = scan.array[:18, 8:40, 8:40]  # voxel 2 stands at 16, so 14 voxels lie outside
    positive = padded[padded > 0]
    torch.testing.assert_close(seen[0][0, 0], (padded - positive.mean()) / positive.std(), atol=2e-4, rtol=0)


def test_a_large_target_is_followed_beyond_its_region(model, generator):
    """The random model claims its whole region, so its mask runs into every border: the region must grow."""
    scan, _ = two_regions(generator)
    narrow = replace(model, whole_targets=False).open(scan).predict(Point((40, 24, 24)))
    inside = narrow.answer.array > 0.5
    if not inside[0].any() and not inside[-1].any():
        pytest.fail("this random model no longer reaches its region's border: choose another seed")
    wide = model.open(scan).predict(Point((40, 24, 24)))
    assert wide.region.spacing_mm[0] > narrow.region.spacing_mm[0]


def test_a_box_that_no_region_holds_is_warned_of(model, generator, caplog):
    """The largest region spans 32 voxels of 1.5 mm, 8 times as coarse: 384 mm."""
    rod = Grid.around((0, 0, 0), (400, 4, 4), (1, 1, 1))
    scan = Volume(torch.rand(rod.shape, generator=generator), rod)
    predictor = replace(model, whole_targets=False).open(scan)
    predictor.predict(Box((10, 0, 0), (390, 4, 4)))
    assert not caplog.text
    predictor.predict(Box((0, 0, 0), (400, 4, 4)))
    assert "larger than the largest region of random, 384 mm" in caplog.text


def test_a_target_keeps_its_expert_and_the_gate_looks_where_one_looked_first(mixture, scan, encodings):
    model, asked = choosing(mixture, Argmax()), []
    session, network = model.open(scan), model.network.module
    network.gate.register_forward_hook(lambda gate, seen, logits: asked.append(logits.argmax().item()))
    first = session.predict(CLICK)
    assert len(asked) == 1 and len(encodings) > 1  # it was followed, and the gate asked once
    assert set(first.answered.regions) == {network.bank.ids[asked[0]]}
    home = region_for(Prompt((CLICK,)).in_mm(scan.grid.affine), model.preprocessing)
    assert not home.same_as(first.region)
    more = Point((20, 20, 20))
    second = session.refine(more)
    assert len(asked) == 2
    embedding, known = model.cache.get(session.scan_fingerprint, home, model.embedding_key, never)
    assert known
    there = choose(model.network, embedding, home, Prompt((CLICK, more)).in_mm(scan.grid.affine))
    assert second.answered.confidence == answered_by(there).confidence
    assert second.answered.confidence != first.answered.confidence


def never():
    raise AssertionError("encoded again")


def test_half_precision_changes_the_embedding_alone_and_is_kept_apart_in_a_cache(narrow):
    full = narrow.predict(CLICK)
    half = replace(narrow.model, dtype=torch.bfloat16).open(narrow.scan)
    found = half.predict(CLICK)
    assert not found.cached
    assert found.answer.array.dtype == torch.float32
    difference = (found.answer.array - full.answer.array).abs().max()
    assert 0 < difference < 0.1
