"""What is drawn on one slice becomes clicks in the right place, on every axis, oblique or not."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import PromptError
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke
from sam_moe.prompts.lowering import Lowering, lower

SHAPE = (40, 50, 12)
THICK = np.diag([1.0, 1.0, 5.0, 1.0])  # slices of 5 mm


def turned(degrees: float, affine: np.ndarray = THICK) -> np.ndarray:
    """A scan turned about its third axis, then about its first."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_z = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    about_x = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    return about_z @ about_x @ affine


def lowered(*items, affine=THICK, shape=SHAPE, **rules):
    return lower(Prompt(items), affine, shape, Lowering(**{"flat_box": "middle", **rules}))


def one(*items, **options):
    """The only click that comes of these items."""
    (point,) = lowered(*items, **options)
    assert isinstance(point, Point)
    return point


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("stop", [5, 4.5, 4, 4.0005])
def test_a_box_of_one_slice_is_a_click_in_its_middle_on_every_plane(axis, stop):
    start, end = [10, 20, 2], [20, 40, 10]
    start[axis], end[axis] = 4, stop
    middle = [14.5, 29.5, 5.5]
    middle[axis] = {5: 4, 4.5: 3.75, 4: 4, 4.0005: 3.50025}[stop]
    found = one(Box(tuple(start), tuple(end)))
    np.testing.assert_allclose(found.at, np.multiply(middle, [1, 1, 5]))
    assert found.positive and found.space == "mm"


def test_a_box_of_two_slices_is_a_box():
    box = Box((10, 20, 4), (20, 40, 6))
    assert lowered(box) == Prompt((box,)).in_mm(THICK)


@pytest.mark.parametrize("thick", [0, 2.5, 5])
def test_a_box_in_millimetres_is_flat_by_the_scans_own_slices(thick):
    flat = Box((10, 20, 30 - thick / 2), (20, 40, 30 + thick / 2), "mm")
    assert one(flat).at == (15, 30, 30)
    # as thick as a slice of 5 mm, but the voxels of the first axis are 1 mm: five voxels
    (solid,) = lowered(Box((30, 20, 10), (35, 40, 40), "mm"))
    assert isinstance(solid, Box)


@given(st.floats(0, 30), st.integers(1, 38), st.integers(5, 15))
def test_a_flat_box_of_an_oblique_scan_is_clicked_in_its_middle_whichever_way_it_is_given(degrees, i, wide):
    affine = turned(degrees)
    box = Box((i, 10, 3), (i + 1, 10 + wide, 9))
    middle = affine[:3, :3] @ box.centre + affine[:3, 3]
    np.testing.assert_allclose(one(box, affine=affine).at, middle, atol=1e-9)
    (carried,) = Prompt((box,)).in_mm(affine)  # its bounding box in the world may be many voxels thick
    np.testing.assert_allclose(one(carried, affine=affine).at, middle, atol=1e-9)
    back = Prompt((carried,)).in_voxels(affine)
    np.testing.assert_allclose(one(*back, affine=affine).at, middle, atol=1e-9)


def test_a_flat_box_drawn_on_a_world_plane_of_an_oblique_scan_is_flat():
    affine = turned(20)
    centre = affine[:3, :3] @ [20, 25, 6] + affine[:3, 3]
    for axis, thick in itertools.product(range(3), (0, 0.9)):
        half = np.array([8.0, 8, 8])
        half[axis] = thick / 2
        found = one(Box(tuple(centre - half), tuple(centre + half), "mm"), affine=affine)
        np.testing.assert_allclose(found.at, centre, atol=1e-9)


def test_a_box_can_be_given_as_flat_or_as_not_flat():
    slab = Box((10, 20, 4), (20, 40, 6))
    assert one(Box(slab.start, slab.stop, flat=True)).at == (14.5, 29.5, 22.5)
    (solid,) = lowered(Box((10, 20, 4), (20, 40, 5), flat=False))
    assert isinstance(solid, Box) and solid.size == (10, 20, 5)


def test_a_line_and_a_single_voxel_are_clicks_in_their_middle():
    line, voxel = Box((4, 10, 3), (5, 31, 4)), Box((4, 5, 6), (5, 6, 7))
    for rule in ("middle", "deep", "box"):
        assert one(line, flat_box=rule).at == (4, 20, 15)
        assert one(voxel, flat_box=rule).at == (4, 5, 30)
    assert one(Box((4, 5, 6), (4, 5, 6))).at == (4, 5, 30)
    assert one(Box((4, 5, 30), (4, 5, 30), "mm")).at == (4, 5, 30)
    assert [point.at for point in lowered(line, flat_box="three")] == [
        (4, 20, 15),
        (4, 13, 15),
        (4, 27, 15),
    ]


@pytest.mark.parametrize("space", ["voxel", "mm"])
def test_in_a_scan_of_one_slice_a_box_of_that_slice_is_no_flat_box(space):
    scan = (40, 50, 1)
    box = Box((10, 20, 0), (20, 40, 1))
    if space == "mm":  # as a viewer gives it: no thickness at all
        box = Box((9.5, 19.5, 0), (19.5, 39.5, 0), "mm")
    (found,) = lowered(box, shape=scan)
    assert isinstance(found, Box)
    assert (found.start, found.stop) == ((9.5, 19.5, -2.5), (19.5, 39.5, 2.5))
    assert one(Box((10, 20, 0), (11, 40, 1)), shape=scan).at == (10, 29.5, 0)  # a line in that slice


def test_without_rules_the_measured_ones_lower():
    items = (Box((10, 20, 4), (30, 30, 5)), STROKE, Loop(RING))
    found = lower(Prompt(items), THICK, SHAPE)
    assert found == lowered(*items, flat_box="three", stroke="middle", loop="deepest")
    assert [type(item) for item in found] == [Point] * 5


def test_flat_boxes_by_the_other_rules():
    box = Box((10, 20, 4), (30, 30, 5))
    (solid,) = lowered(box, flat_box="deep")  # 20 x 10 mm: 15 mm deep about the middle of slice 4, at 20 mm
    assert (solid.start, solid.stop) == ((9.5, 19.5, 12.5), (29.5, 29.5, 27.5))
    (solid,) = lowered(Box((10, 20, 0), (30, 30, 1)), flat_box="deep")  # no deeper than the scan
    assert (solid.start[2], solid.stop[2]) == (-2.5, 7.5)
    assert lowered(box, flat_box="box") == Prompt((box,)).in_mm(THICK)
    places = [point.at for point in lowered(box, flat_box="three")]
    np.testing.assert_allclose(
        places, [(19.5, 24.5, 20), (19.5 - 20 / 3, 24.5, 20), (19.5 + 20 / 3, 24.5, 20)]
    )


def test_the_middle_of_a_flat_box_that_reaches_out_of_the_scan_is_brought_inside():
    assert one(Box((-100, 20, 30), (20, 30, 30), "mm")).at == (0, 25, 30)


STROKE = Stroke(((0, 10, 4), (10, 10, 4), (10, 20, 4)))


def test_a_stroke_is_clicked_half_way_along_it():
    np.testing.assert_allclose(one(STROKE).at, (10, 10, 20), atol=0.06)
    assert one(Stroke(((3, 4, 5),))).at == (3, 4, 25)
    assert not one(Stroke(STROKE.points, positive=False)).positive


@pytest.mark.parametrize(("rule", "count"), [("three", 3), ("five", 5), ("seven", 7)])
def test_more_clicks_lie_on_a_stroke_in_equal_shares_the_middle_one_first(rule, count):
    found = lowered(STROKE, stroke=rule)
    assert len(found) == count
    np.testing.assert_allclose(found.points[0].at, (10, 10, 20), atol=0.06)
    along = sorted((x + y - 10) for x, y, _ in (point.at for point in found))
    np.testing.assert_allclose(along, (np.arange(count) + 0.5) * 20 / count, atol=0.1)


def test_of_a_stroke_that_leaves_the_scan_what_lies_inside_counts():
    found = one(Stroke(((-30, 10, 20), (10, 10, 20)), space="mm"))
    np.testing.assert_allclose(found.at, (4.75, 10, 20), atol=0.2)
    with pytest.raises(PromptError, match="nothing of the .stroke"):
        one(Stroke(((-30, 10, 20), (-20, 10, 20)), space="mm"))


RING = tuple((20 + 8 * float(np.cos(a)), 25 + 8 * float(np.sin(a)), 4.0) for a in np.linspace(0, 6.1, 40))


def test_a_loop_is_clicked_where_it_is_deepest():
    np.testing.assert_allclose(one(Loop(RING)).at, (20, 25, 20), atol=0.4)
    assert not one(Loop(RING, positive=False)).positive
    # an L: the corner square is the widest part; its middle of mass would lie outside
    angle = ((0, 0), (20, 0), (20, 4), (6, 4), (6, 20), (0, 20))
    found = one(Loop(tuple((10.0 + x, 10.0 + y, 4.0) for x, y in angle))).at
    assert found[0] < 17.5 and found[1] < 20 and found[2] == 20


@given(st.floats(0, 60), st.sampled_from(list(itertools.permutations(range(3)))))
def test_a_loop_on_any_plane_of_any_scan_is_clicked_in_its_middle(degrees, order):
    affine = turned(degrees, np.diag([1.0, 1.0, 1.0, 1.0]))
    points = tuple(tuple(np.array((x, y, 20.0))[list(order)].tolist()) for x, y, _ in RING)
    middle = np.array((20, 25, 20.0))[list(order)]
    found = one(Loop(points), affine=affine, shape=(50, 50, 50)).at
    np.testing.assert_allclose(found, affine[:3, :3] @ middle + affine[:3, 3], atol=0.5)


def test_loops_by_the_other_rules():
    points = lowered(Loop(RING), loop="three")
    assert len(points) == 3 and len({point.at for point in points}) == 3
    for point in points:
        assert np.hypot(point.at[0] - 20, point.at[1] - 25) < 7.9 and point.at[2] == 20
    box, point = lowered(Loop(RING), loop="box")
    assert isinstance(box, Box) and isinstance(point, Point)
    np.testing.assert_allclose(box.size, (16, 16, 16), atol=0.1)
    assert one(Loop(RING, positive=False), loop="box") == one(Loop(RING, positive=False))


def test_a_loop_that_crosses_itself_or_has_thousands_of_points_is_filled_all_the_same():
    eight = ((10, 10, 4), (30, 30, 4), (10, 30, 4), (30, 10, 4))
    x, y, z = one(Loop(tuple(tuple(map(float, p)) for p in eight))).at
    assert abs(y - 20) > 2 and z == 20 and abs(x - 20) < 1
    many = tuple(
        (20 + 8 * float(np.cos(a)), 25 + 8 * float(np.sin(a)), 4.0) for a in np.linspace(0, 6.28, 20_000)
    )
    np.testing.assert_allclose(one(Loop(many)).at, (20, 25, 20), atol=0.4)


def test_points_and_boxes_stay_as_they_are_and_the_order_too():
    items = (Point((3, 4, 5)), Box((1, 2, 3), (9, 9, 9)), STROKE, Point((1, 1, 1), positive=False))
    found = lowered(*items)
    assert [type(item) for item in found] == [Point, Box, Point, Point]
    assert [item.positive for item in found] == [True, True, True, False]
    plain = Prompt((items[0], items[1], items[3]))
    assert lower(plain, THICK, SHAPE) == plain.in_mm(THICK)
