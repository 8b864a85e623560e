"""A box is flat by its thickness on the scan's own grid, or because it is given as flat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.prompts import Box, Prompt

THICK = np.diag([0.5, 0.5, 5.0, 1.0])


@pytest.mark.parametrize(
    ("box", "axes"),
    [
        (Box((0, 0, 4), (9, 9, 5)), (2,)),
        (Box((0, 0, 4.0), (9, 9, 4.4)), (2,)),
        (Box((0, 3, 4), (9, 3, 9)), (1,)),
        (Box((0, 3, 4), (9, 4, 5)), (1, 2)),
        (Box((0, 0, 4), (9, 9, 5.2)), ()),
        (Box((0, 0, 4), (9, 9, 5), flat=False), ()),
        (Box((0, 0, 3), (90, 90, 5), flat=True), (2,)),  # 45 x 45 x 10 mm
        (Box((0, 0, 3), (9, 12, 5), flat=True), (0,)),  # 4.5 x 6 x 10 mm
        (Box((0, 0, 4), (9, 9, 9), "mm"), (2,)),
        (Box((0, 0, 4), (9, 9, 9.1), "mm"), ()),
        (Box((0, 0, 4), (0.5, 9, 20), "mm"), (0,)),
        (Box((0, 0, 4), (9, 9, 4), "mm"), (2,)),
    ],
)
def test_a_box_is_flat_where_it_is_no_thicker_than_a_voxel(box, axes):
    assert box.flat_axes(THICK) == axes


def test_millimetres_are_measured_along_the_nearest_stored_axis():
    affine = np.array([[0, 0, 5.0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 1]])
    assert Box((0, 0, 0), (5, 9, 9), "mm").flat_axes(affine) == (0,)  # slices lie along x
    assert Box((0, 0, 0), (9, 9, 5), "mm").flat_axes(affine) == ()


@pytest.mark.parametrize(("given", "voxel"), [(12, 12), (12.4, 12), (12.5, 13), (11.6, 12)])
def test_a_side_without_thickness_lies_on_the_nearest_voxel(given, voxel):
    box = Box((0, 0, given), (9, 9, given))
    assert (box.start[2], box.stop[2], box.centre[2]) == (voxel, voxel + 1, voxel)
    (box,) = Prompt((Box((0, 0, 5 * given), (9, 9, 5 * given), "mm"),)).in_voxels(THICK)
    assert (box.start[2], box.stop[2]) == (voxel, voxel + 1)


@given(st.floats(0.2, 4), st.integers(1, 3))
def test_flat_stays_flat_and_solid_stays_solid_on_another_grid(scale, thick):
    matrix = np.diag([scale, scale, scale, 1])
    (other,) = Prompt((Box((5, 5, 5), (25, 25, 5 + thick)),)).map(matrix)
    assert bool(other.flat_axes(np.eye(4))) == (thick == 1)
    (world,) = Prompt((Box((5, 5, 5), (25, 25, 5 + thick)),)).in_mm(matrix)
    assert bool(world.flat_axes(matrix)) == (thick == 1)
    assert world.flat is None  # its thickness shows it there
