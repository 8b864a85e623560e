"""A scan is taken for the data set it is nearest to, and one like none of them is named as such."""

import dataclasses

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.predict.automatic.which import Likeness, named, profile, recognised
from sam_moe.slices.glance import glance
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.predict.automatic.bands import BLOCK, SHADE, Bands

TITLES = {"block": "CT of a block", "shade": "MR of a shade"}


def halves(low, high):
    """A scan that is `low` on its left half and `high` on its right one, in slices that fit the block's."""
    values = np.full((20, 20, 12), low, dtype=np.float32)
    values[10:] = high
    return Volume(values, Grid.around((0, 0, 0), values.shape, (2, 2, 3)))


def test_a_profile_is_the_mean_over_slices(network):
    # As a block 40 and 60 are 0.4 and 0.6: their mean is 0.5, the least 0.4
    torch.testing.assert_close(profile(network, halves(40, 60), BLOCK), torch.tensor([0.5, 0.4]))
    half = halves(40, 60)
    half.array[:, :, 6:] = 60
    assert glance(half, BLOCK).shape == (8, 3, 20, 20)  # of twelve slices, four from each half
    torch.testing.assert_close(profile(network, half, BLOCK), torch.tensor([0.55, 0.5]))


def test_the_nearest_set_is_taken_and_every_distance_is_known(network):
    found = recognised(network, halves(0, 100))  # a mean of 0.5 and a least of 0, as the block's own scans
    assert found.taken is BLOCK and not found.asked and found.nearest == "block"
    assert found.distances["block"] == pytest.approx(0, abs=1e-4)
    # As a shade they are -1 and 0 spans of the scan, whose mean is -0.5; the reference is 3, 3
    assert found.distances["shade"] == pytest.approx(10 * np.hypot(3.5, 4), rel=1e-5)
    assert str(found) == "like CT of a block" and not found.unlike


def test_a_scan_beyond_the_sets_own_is_unlike_anything_trained(network):
    found = recognised(network, halves(91, 100))  # 0.955 and 0.91: off by 0.455 and 0.91, a tenth is one
    assert found.unlike and found.distance == pytest.approx(10 * np.hypot(0.455, 0.91), rel=1e-5)
    assert (
        str(found) == "like CT of a block, unlike anything trained (distance 10.2, 95 % of its own below 6.0)"
    )


def test_a_set_that_is_named_is_taken_whatever_is_nearest(network):
    found = recognised(network, halves(0, 100), "shade")
    assert found.taken is SHADE and found.asked and found.nearest == "block"
    assert str(found).startswith("taken for MR of a shade, as asked, and unlike it (distance 53.2, ")
    assert str(found).endswith("95 % of its own below 4.0); most like CT of a block")
    assert str(recognised(network, halves(0, 100), "block")) == "taken for CT of a block, as asked"


def test_an_unknown_set_is_answered_with_the_known_ones(network):
    with pytest.raises(ConfigError, match=r"no data set 'blok'.*nearest first: block, shade"):
        recognised(network, halves(0, 100), "blok")
    assert named((BLOCK, SHADE), "shade") is SHADE


def test_weights_without_references_ask_for_a_name_unless_they_know_one_set():
    with pytest.raises(ConfigError, match=r"no reference.*Name it: block, shade.*--as SET"):
        recognised(Bands(known=False), halves(0, 100))
    found = recognised(Bands(known=False), halves(0, 100), "shade")
    assert found.taken is SHADE and found.distance is None and found.nearest is None and not found.unlike
    assert str(found) == "taken for MR of a shade, as asked"
    alone = recognised(Bands((SHADE,), known=False), halves(0, 100))
    assert alone.taken is SHADE and str(alone) == "taken for MR of a shade, the only set known"


def test_a_set_without_a_reference_is_not_guessed():
    class Half(Bands):
        def distance(self, profile, data_set):
            return None if data_set == 0 else super().distance(profile, data_set)

    found = recognised(Half(), halves(0, 100))
    assert found.taken is SHADE and found.distances["block"] is None and found.unlike


@pytest.mark.parametrize(
    ("distance", "far", "unlike"), [(4.1, 4.0, True), (4.0, 4.0, False), (9.0, None, False)]
)
def test_what_is_far_is_the_cards_to_say(distance, far, unlike):
    taken = BLOCK.model_copy(update={"far": far})
    assert Likeness(taken, False, {"block": distance, "shade": 99.0}, TITLES).unlike is unlike


def test_a_gate_that_is_sure_of_a_foreign_scan_does_not_hide_it(network):
    """The softmax is never read: logits scaled up to certainty leave the words as they are."""
    scan = halves(91, 100)

    class Sure(Bands):
        def answer(self, images, data_set):
            logits, routings = super().answer(images, data_set)
            sure = {p: dataclasses.replace(r, logits=1000 * r.logits) for p, r in routings.items()}
            return logits, sure

    assert str(recognised(Sure(), scan)) == str(recognised(network, scan))
