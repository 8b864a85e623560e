import numpy as np
import pytest
import torch
from scipy.ndimage import label

from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball, tube, two_regions


def seeded():
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("draw", [ball, tube, two_regions])
def test_a_phantom_is_the_same_for_the_same_seed_and_brighter_inside(draw):
    scan, mask = draw(seeded())
    again, _ = draw(seeded())
    assert torch.equal(scan.array, again.array)
    other, _ = draw(torch.Generator().manual_seed(8))
    assert not torch.equal(scan.array, other.array)
    assert mask.array.dtype == torch.uint8
    assert scan.grid is mask.grid
    inside = mask.array.bool()
    assert scan.array[inside].mean() > scan.array[~inside].mean() + 50
    assert label(inside.numpy(), np.ones((3, 3, 3)))[1] == 1


def test_a_ball_has_the_volume_of_a_ball_on_any_grid():
    affine = np.array([[0.6, -0.8, 0, 5], [0.8, 0.6, 0, -9], [0, 0, 2, -40], [0, 0, 0, 1.0]])
    for grid in (Grid.around((0, 0, 0), (48, 48, 48), (1, 1, 1)), Grid(affine, (50, 50, 25))):
        _, mask = ball(seeded(), grid, radius_mm=12)
        millilitres = int(mask.array.sum()) * grid.voxel_ml
        assert millilitres == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.02)


def test_two_regions_is_twice_as_long_as_a_region_and_lies_inside():
    _, mask = two_regions(seeded(), region_shape=(20, 16, 16))
    along = mask.array.amax(dim=(1, 2)).nonzero().flatten()
    assert len(along) == pytest.approx(40, abs=1)
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        seen = mask.array.amax(dim=others)
        assert seen[0] == seen[-1] == 0


def test_a_tube_is_long_and_thin():
    _, mask = tube(seeded(), radius_mm=4.0)
    places = mask.array.nonzero().float() * 1.5
    assert (places.amax(dim=0) - places.amin(dim=0)).max() > 12 * 4.0
    assert int(mask.array.sum()) * 1.5**3 / (np.pi * 4.0**2) > 60  # mm long, if it is one tube
