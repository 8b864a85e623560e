"""With the weights that ship: a target about twice the region is not cut."""

from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
import torch

import sam_moe
from sam_moe.prompts.simulate import box_around
from sam_moe.space.phantom import two_regions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return sam_moe.load("tiny")


def test_a_target_twice_the_region_is_found_whole_and_better_once_refined(model, record_property):
    card = model.preprocessing
    alone, whole = [], []
    for seed in range(3):
        spacing = (card.spacing_mm * card.click_zoom,) * 3
        scan, truth = two_regions(torch.Generator().manual_seed(seed), (card.region_voxels,) * 3, spacing)
        index = truth.array.nonzero()
        length_mm = (index[:, 0].max() - index[:, 0].min() + 1).item() * spacing[0]
        assert length_mm > 1.9 * card.region_voxels * spacing[0]  # of the region that a click gets
        box = box_around(truth.array.bool().numpy())
        alone.append(replace(model, whole_targets=False).open(scan).predict(box).dice(truth))
        found = model.open(scan).predict(box)
        whole.append(found.dice(truth))
        ends = np.flatnonzero(found.mask.numpy().any(axis=(1, 2)))[[0, -1]]
        assert np.ptp(ends) > 0.85 * length_mm / spacing[0]  # from end to end
    record_property("dice_region_alone", mean(alone))
    record_property("dice_refined", mean(whole))
    assert mean(whole) > mean(alone) + 0.05
