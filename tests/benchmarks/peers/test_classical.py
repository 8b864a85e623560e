from math import pi

import numpy as np
import pytest
import torch

from benchmarks.peers import classical
from sam_moe.prompts import Box, Point
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


@pytest.fixture
def ball() -> tuple[Volume, np.ndarray]:
    """A bright ball of radius 9 mm, off the middle of a dark scan with faint noise."""
    grid = Grid.around((0, 0, 0), (50, 48, 26), (1, 1, 2))
    places = grid.world_of(np.moveaxis(np.indices(grid.shape), 0, -1))
    truth = np.linalg.norm(places - (2, -3, 4), axis=-1) <= 9
    noise = np.random.default_rng(0).uniform(-10, 10, grid.shape)
    return Volume(torch.from_numpy(np.where(truth, 500, 100) + noise).float(), grid), truth


CENTRE = Point((27, 21, 15))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_the_ellipsoid_of_a_box_has_the_volume_of_the_formula():
    mask = classical.ellipsoid((90, 70, 50), Box((10, 8, 6), (70, 58, 46)))
    assert mask.sum() == pytest.approx(4 / 3 * pi * 30 * 25 * 20, rel=0.005)


def test_the_ellipsoid_touches_all_faces_of_its_box_and_leaves_none():
    mask = classical.ellipsoid((20, 20, 20), Box((3, 4, 5), (12, 13, 16)))
    index = np.argwhere(mask)
    assert index.min(0).tolist() == [3, 4, 5] and index.max(0).tolist() == [11, 12, 15]


def test_a_box_of_one_voxel_holds_its_voxel():
    assert np.argwhere(classical.ellipsoid((4, 4, 4), Box((1, 2, 3), (2, 3, 4)))).tolist() == [[1, 2, 3]]


def test_region_growing_recovers_a_bright_ball_exactly(ball):
    scan, truth = ball
    grow = classical.ConfidenceConnected(multiplier=3, iterations=2, reach_mm=30, smooth_mm=0)
    assert (grow(scan, [CENTRE]) == truth).all()


def test_region_growing_goes_no_farther_than_its_reach(ball):
    scan, _ = ball
    grow = classical.ConfidenceConnected(multiplier=3, iterations=2, reach_mm=4, smooth_mm=0)
    index = np.argwhere(grow(scan, [CENTRE]))
    assert index.min(0).tolist() == [23, 17, 13] and index.max(0).tolist() == [31, 25, 17]


def test_region_growing_gives_up_what_lies_nearer_to_a_negative_click(ball):
    scan, truth = ball
    grow = classical.ConfidenceConnected(multiplier=3, iterations=2, reach_mm=30, smooth_mm=0)
    mask = grow(scan, [CENTRE, Point((33, 21, 15), positive=False)])
    assert (mask == truth & (np.arange(50) <= 30)[:, None, None]).all()


def test_the_walker_recovers_a_bright_ball_exactly(ball):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    scan, truth = ball
    walk = classical.RandomWalker(reach_mm=20, beta=130, smooth_mm=0, seed_mm=2, threshold=0.5, voxels=40)
    assert (walk(scan, [CENTRE]) == truth).all()


def test_the_walker_keeps_out_of_a_negative_click(ball):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    scan, _ = ball
    walk = classical.RandomWalker(reach_mm=20, beta=130, smooth_mm=0, seed_mm=2, threshold=0.5, voxels=24)
    outside = Point((33, 21, 15), positive=False)
    assert walk(scan, [CENTRE])[33, 21, 15] and not walk(scan, [CENTRE, outside])[33, 21, 15]


def test_the_cut_ellipsoid_leaves_out_what_its_box_has_too_much(ball):
    scan, truth = ball
    box = Box((14, 10, 9), (37, 31, 21))  # the ball reaches from (18, 12, 11) to (36, 30, 19)
    cut = classical.CutEllipsoid(inner=0.4, width=4, outer=2, smooth_mm=0)
    assert (cut(scan, box) == truth).all()
    assert dice(classical.ellipsoid(scan.grid.shape, box), truth) < 0.9
