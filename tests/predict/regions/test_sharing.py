"""Which region may serve which target."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.regions.sharing import Sharing
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball

TENTH = Sharing(zoom=1.25, shift=0.1)


def region(x=0.0, spacing=1.5, voxels=64):
    return Grid.around((x, 0, 0), (voxels,) * 3, (spacing,) * 3)


@pytest.mark.parametrize(
    ("other", "served"),
    [
        (region(9.6), True),  # a tenth of 64 * 1.5 mm
        (region(9.7), False),
        (region(0, 1.5 * 1.25), True),
        (region(0, 1.5 / 1.25), True),
        (region(0, 1.5 * 1.26), False),
        (region(0, 1.5 / 1.26), False),
    ],
)
def test_a_region_serves_where_it_lies_near_and_is_about_as_fine(other, served):
    assert TENTH.serves(other, region()) is served


def test_the_region_that_serves_most_is_taken_first():
    wanted = [region(0), region(9), region(18), region(100)]
    found = TENTH.share(wanted)
    assert [wanted.index(each) for each in found] == [1, 1, 1, 3]


@given(
    places=st.lists(st.tuples(st.floats(-60, 60), st.floats(0.7, 4)), min_size=1, max_size=12),
    zoom=st.floats(1, 3),
    shift=st.floats(0, 1),
)
def test_every_target_is_served_by_a_region_that_one_of_them_asked_for(places, zoom, shift):
    sharing, wanted = Sharing(zoom, shift), [region(x, spacing) for x, spacing in places]
    found = sharing.share(wanted)
    assert len(found) == len(wanted)
    for served, own in zip(found, wanted, strict=True):
        assert sharing.serves(served, own) and any(served is each for each in wanted)


def test_targets_close_together_cost_one_encoding(model, generator):
    model, scan = replace(model, whole_targets=False), ball(generator)[0]
    targets = {str(x): Prompt((Point((float(x), 24.0, 24.0)),)) for x in (22, 23, 25)}
    own = model.open(scan).predict_targets(targets).predictions
    assert len(model.cache) == 3
    cache = EmbeddingCache()
    shared = replace(model, sharing=Sharing(1.0, 0.08)).open(scan, cache=cache).predict_targets(targets)
    shared = shared.predictions
    assert len(cache) == 1
    assert [found.cached for found in shared.values()] == [False, True, True]
    assert shared["23"].region.same_as(own["23"].region)  # the middle one's serves all
    np.testing.assert_array_equal(shared["23"].mask, own["23"].mask)


def test_targets_far_apart_keep_their_own_regions_and_their_masks_to_the_bit(model, generator):
    model, scan = replace(model, whole_targets=False), ball(generator)[0]
    targets = {
        "a": Prompt((Point((10.0, 24.0, 24.0)),)),
        "b": Prompt((Box((30.0, 20.0, 20.0), (40.0, 30.0, 30.0)),)),
    }
    own = model.open(scan).predict_targets(targets).labels
    shared = replace(model, sharing=TENTH).open(scan).predict_targets(targets).labels
    assert (shared == own).all()
