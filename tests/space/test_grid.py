import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import GeometryError
from sam_moe.space.grid import Grid, same_grid

# 2 x 3 x 4 voxels of 1 x 2 x 3 mm, stored to the left, to the back, up; voxel (0, 0, 0) at (10, 20, 30) mm
LPS = Grid(np.array([[-1.0, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]), (2, 3, 4))


def test_an_lps_voxel_lies_where_a_ruler_says():
    assert LPS.world_of((1, 2, 3)).tolist() == [9, 16, 39]
    assert LPS.index_of((9, 16, 39)).tolist() == [1, 2, 3]
    assert LPS.spacing_mm == (1, 2, 3)
    assert LPS.extent_mm == (2, 6, 12)
    assert LPS.voxel_ml == pytest.approx(0.006)
    assert LPS.axcodes == "LPS"


def test_outer_corners_are_edges_of_voxels():
    assert LPS.corners_mm.min(axis=0).tolist() == [8.5, 15, 28.5]
    assert LPS.corners_mm.max(axis=0).tolist() == [10.5, 21, 40.5]


def test_inside_is_half_open():
    assert LPS.inside((-0.5, -0.5, -0.5))
    assert LPS.inside((1.49, 2.49, 3.49))
    assert not LPS.inside((1.5, 0, 0))
    assert not LPS.inside((0, 0, -0.51))
    assert not LPS.inside((float("nan"), 0, 0))


@given(
    centre=st.tuples(*[st.floats(-300, 300)] * 3),
    shape=st.tuples(*[st.integers(1, 200)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 5)] * 3),
)
def test_around_puts_the_middle_voxel_on_the_centre(centre, shape, spacing):
    grid = Grid.around(centre, shape, spacing)
    np.testing.assert_allclose(grid.world_of([n // 2 for n in shape]), centre, atol=1e-9)
    np.testing.assert_allclose(grid.spacing_mm, spacing)
    assert grid.axcodes == "RAS"


@given(data=st.data())
def test_points_come_back_from_any_grid(grids, data):
    grid = data.draw(grids())
    points = np.array(data.draw(st.lists(st.tuples(*[st.floats(-600, 600)] * 3), min_size=1, max_size=5)))
    np.testing.assert_allclose(grid.world_of(grid.index_of(points)), points, atol=1e-8)


@given(data=st.data())
def test_going_through_another_grid_changes_no_place(grids, data):
    here, there = data.draw(grids()), data.draw(grids())
    index = np.array(data.draw(st.tuples(*[st.floats(0, 40)] * 3)))
    moved = here.to(there) @ [*index, 1]
    np.testing.assert_allclose(moved[:3], there.index_of(here.world_of(index)), atol=1e-7)
    np.testing.assert_allclose(there.to(here) @ here.to(there), np.eye(4), atol=1e-7)


def test_axcodes_are_those_of_nibabel(orientation):
    affine = np.eye(4)
    affine[:3, :3] = orientation
    assert Grid(affine, (3, 3, 3)).axcodes == "".join(nibabel.aff2axcodes(affine))


@given(data=st.data())
def test_axcodes_of_oblique_grids_are_those_of_nibabel(grids, data):
    grid = data.draw(grids(most_degrees=15))
    assert grid.axcodes == "".join(nibabel.aff2axcodes(grid.affine))


def moved(grid, voxels):
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * voxels
    return Grid(affine, grid.shape)


def test_less_than_a_thousandth_of_a_voxel_is_the_same_grid():
    assert LPS.same_as(moved(LPS, 0.0009))
    assert not LPS.same_as(moved(LPS, 0.0011))
    assert not LPS.same_as(Grid(LPS.affine, (2, 3, 5)))
    assert LPS.same_as(moved(LPS, 0.1), tolerance_voxels=0.2)
    assert LPS.distance_voxels(moved(LPS, 0.25)) == pytest.approx(0.25)


def test_other_grids_are_refused_with_both_printed():
    same_grid(LPS, moved(LPS, 0.0009))
    other = moved(LPS, 0.5)
    with pytest.raises(GeometryError, match=r"up to 0\.5 voxels apart.*resample") as error:
        same_grid(LPS, other)
    assert repr(LPS) in str(error.value)
    assert repr(other) in str(error.value)
    with pytest.raises(GeometryError, match="shapes differ"):
        same_grid(LPS, Grid(LPS.affine, (2, 3, 5)))


@pytest.mark.parametrize(
    ("affine", "shape", "says"),
    [
        (np.full((4, 4), np.nan), (2, 2, 2), "not an affine"),
        (np.eye(4) * 2, (2, 2, 2), "not an affine"),
        (np.diag([1.0, 1, 0, 1]), (2, 2, 2), "flattens space"),
        (np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (2, 2, 2), "flattens space"),
        (np.eye(4), (2, 0, 2), "not a shape"),
    ],
)
def test_what_is_no_grid_is_refused(affine, shape, says):
    with pytest.raises(GeometryError, match=says):
        Grid(affine, shape)


def test_a_grid_cannot_be_changed_through_its_affine():
    affine = np.eye(4)
    grid = Grid(affine, (2, 2, 2))
    affine[0, 3] = 7
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 7


def test_a_single_number_is_no_place():
    with pytest.raises(GeometryError, match=r"Expected \(\.\.\., 3\)"):
        LPS.world_of((1, 2))


def test_spacing_must_be_positive():
    with pytest.raises(GeometryError, match="three positive numbers"):
        Grid.around((0, 0, 0), (4, 4, 4), (1, 0, 1))


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_grids_of_the_same_voxels_in_another_order_are_distinguished_from_others(turn):
    shape, matrix = (4, 5, 6), np.zeros((4, 4))
    matrix[list(turn), range(3)] = 1
    matrix[3, 3] = 1
    matrix[turn[0], 0], matrix[turn[0], 3] = -1, shape[turn[0]] - 1
    oblique = Grid(LPS.affine @ _turned(0.3), shape)
    other = Grid(oblique.affine @ matrix, tuple(shape[axis] for axis in turn))
    assert oblique.same_places(other) and other.same_places(oblique) and oblique.same_places(oblique)
    assert not oblique.same_places(moved(other, 0.01))
    assert not oblique.same_places(Grid(other.affine, tuple(n - 1 for n in other.shape)))
    assert not oblique.same_places(Grid(other.affine @ _turned(0.1), other.shape))


def _turned(angle):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


@pytest.mark.parametrize("origin", [1e16, -1e16, 1e13, 1e300])
def test_voxels_too_far_away_to_be_distinguished_are_refused(origin):
    affine = np.eye(4)
    affine[1, 3] = origin
    with pytest.raises(GeometryError, match=r"can only be distinguished in steps of .* mend the origin"):
        Grid(affine, (8, 8, 8))
    affine[1, 3] = np.sign(origin) * 1e9  # a thousand kilometres: steps of 1e-7 mm
    assert Grid(affine, (8, 8, 8)).same_as(Grid(affine, (8, 8, 8)))


@pytest.mark.parametrize("spacing", [1e-320, 1e-200, 1e-150, 1e-10, 1e10, 1e150, 1e200, 1e308])
def test_impossible_spacings_are_refused_by_name(spacing):
    for axes in ((0,), (0, 1, 2)):
        affine = np.eye(4)
        affine[axes, axes] = spacing
        with pytest.raises(GeometryError, match=r"voxels of .* mm\. Expected 1e-09 to 1e\+09 mm"):
            Grid(affine, (4, 4, 4))


def test_a_grid_so_long_that_its_far_end_is_out_of_reach_is_refused():
    affine = np.diag([1e9, 1e-6, 1.0, 1.0])
    with pytest.raises(GeometryError, match="be distinguished in steps"):
        Grid(affine, (100, 4, 4))
