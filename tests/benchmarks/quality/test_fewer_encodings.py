"""Prompts and counted encodings of targets that share a region."""

from dataclasses import replace

import pytest
import torch

import sam_moe
from benchmarks import cases
from benchmarks.quality import fewer_encodings
from sam_moe.predict.regions.sharing import Sharing
from sam_moe.prompts import Box, Point
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


@pytest.fixture
def two(drawn_set):
    return list(cases.general_cases("test", least_voxels=8))


def test_each_structure_has_one_prompt_inside_it(two):
    clicks, boxes = (fewer_encodings.asked(two, how, 0) for how in ("click", "box"))
    assert clicks.keys() == boxes.keys() == {case.structure for case in two}
    for case in two:
        (click,), (box,) = clicks[case.structure], boxes[case.structure]
        assert isinstance(click, Point) and case.truth.array[tuple(map(int, click.at))]
        assert isinstance(box, Box) and all(a < b for a, b in zip(box.start, box.stop, strict=True))


def test_boxes_are_the_same_for_the_same_seed_and_move_by_at_most_a_twentieth(two):
    truth = torch.zeros(120, 60, 60, dtype=torch.bool)
    truth[10:110, 10:50, 10:50] = True  # so large that a twentieth is more than a voxel
    grid = Grid.around((0, 0, 0), truth.shape, (1, 1, 1))
    large = [replace(two[0], scan=Volume(truth.float(), grid), truth=Volume(truth, grid))]
    drawn = [fewer_encodings.asked(large, "box", seed) for seed in range(12)]
    assert fewer_encodings.asked(large, "box", 3) == drawn[3]
    starts = {one[large[0].structure].items[0].start[0] for one in drawn}
    assert len(starts) > 3 and 5 <= min(starts) <= max(starts) <= 15


@pytest.mark.slow
def test_one_place_twice_is_encoded_once_where_regions_are_shared(two):
    liver = two[0]
    same = [liver, replace(liver, structure="again")]
    prompts = fewer_encodings.asked([liver], "click", 0)
    (point,) = prompts[liver.structure]
    near = Point((point.at[0] + 1, point.at[1], point.at[2]))
    prompts = {
        liver.structure: prompts[liver.structure],
        "again": replace(prompts[liver.structure], items=(near,)),
    }
    model = replace(sam_moe.load("tiny", device="cpu"), whole_targets=False)
    own, counted_own = fewer_encodings.answered(model, same, prompts)
    shared, counted_shared = fewer_encodings.answered(
        replace(model, sharing=Sharing(1.5, 0.3)), same, prompts
    )
    assert (counted_own, counted_shared) == (2, 1)
    assert len(own) == len(shared) == 2 and all(0 <= dice <= 1 for dice in own + shared)
    assert torch.tensor(own).isfinite().all()
