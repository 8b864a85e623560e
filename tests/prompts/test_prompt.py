"""Points and boxes keep their order and their place, whichever grid they are given on."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import GeometryError, PromptError
from sam_moe.prompts import Box, Point, Prompt

SHAPE = (5, 7, 9)
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def reorienting(axes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """The matrix from a volume's index to that of `volume.transpose(axes)` flipped where the sign is -1."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[new, old] = sign
        matrix[new, 3] = 0 if sign > 0 else SHAPE[old] - 1
    return matrix


def reoriented(array: np.ndarray, axes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    return array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]


@st.composite
def oblique_affines(draw: st.DrawFn) -> np.ndarray:
    """Affines of scans: any rotation, voxels of 0.3 to 6 mm, origins within half a metre."""
    quaternion = np.array([draw(st.floats(-1, 1)) for _ in range(4)])
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0, 0, 0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * [draw(st.floats(0.3, 6)) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


indices = st.tuples(*[st.floats(-0.5, 511)] * 3)
points = st.builds(Point, indices, st.booleans())
boxes = st.builds(
    lambda start, size: Box(start, tuple(a + b for a, b in zip(start, size, strict=True))),
    st.tuples(*[st.integers(0, 300)] * 3),
    st.tuples(*[st.integers(1, 200)] * 3),
)


@given(st.lists(points, min_size=1, max_size=6), oblique_affines())
def test_points_come_back_from_millimetres_where_they_were(items, affine):
    prompt = Prompt(tuple(items))
    back = prompt.in_mm(affine).in_voxels(affine)
    for before, after in zip(prompt, back, strict=True):
        assert after.space == "voxel"
        assert after.positive == before.positive
        np.testing.assert_allclose(after.at, before.at, rtol=0, atol=1e-9)


@given(boxes, oblique_affines())
def test_a_box_in_millimetres_holds_all_its_corner_voxels_to_their_edges(box, affine):
    (in_mm,) = Prompt((box,)).in_mm(affine)
    edges = np.array([box.start, box.stop]) - 0.5
    corners = np.array(
        [[edges[c[axis]][axis] for axis in range(3)] for c in itertools.product((0, 1), repeat=3)]
    )
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(in_mm.start, world.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(in_mm.stop, world.max(axis=0), atol=1e-9)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_a_box_follows_its_mask_through_every_orientation_exactly(axes, signs):
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 0:7, 4:5] = True
    (mapped,) = Prompt((Box((1, 0, 4), (3, 7, 5)),)).map(reorienting(axes, signs))
    drawn = np.zeros([SHAPE[axis] for axis in axes], bool)
    drawn[tuple(slice(int(a), int(b)) for a, b in zip(mapped.start, mapped.stop, strict=True))] = True
    assert all(float(edge).is_integer() for edge in (*mapped.start, *mapped.stop))
    np.testing.assert_array_equal(drawn, reoriented(mask, axes, signs))


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_a_click_follows_its_voxel_through_every_orientation_exactly(axes, signs):
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    (mapped,) = Prompt((Point((4, 2, 7), positive=False),)).map(reorienting(axes, signs))
    assert reoriented(volume, axes, signs)[tuple(int(x) for x in mapped.at)] == volume[4, 2, 7]
    assert not mapped.positive


def test_edges_of_voxels_become_edges_in_millimetres():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [10, 20, 30]
    (box,) = Prompt((Box((0, 1, 2), (1, 3, 5)),)).in_mm(affine)
    # Voxel 0 (2 mm, centred at 10) spans 9..11; voxels 1, 2 (3 mm, from 20) 21.5..27.5; 2 to 4 (4 mm) 36..48.
    assert box == Box((9, 21.5, 36), (11, 27.5, 48), space="mm")
    assert Prompt((box,)).in_voxels(affine) == Prompt((Box((0, 1, 2), (1, 3, 5)),))


def test_a_box_on_a_finer_grid_keeps_its_edges():
    halved = np.diag([2.0, 2.0, 2.0, 1.0])
    halved[:3, 3] = 0.5  # voxel centres of a grid with half the spacing that shares its outer edges
    (fine,) = Prompt((Box((1, 2, 3), (2, 4, 6)),)).map(halved)
    assert fine == Box((2, 4, 6), (4, 8, 12), flat=True)  # one voxel thick where it was drawn


def test_the_centre_of_a_one_voxel_box_is_that_voxel():
    assert Box((4, 5, 6), (5, 6, 7)).centre == (4, 5, 6)
    assert Box((4, 5, 6), (6, 6, 7), space="mm").centre == (5, 5.5, 6.5)
    assert Box((4, 5, 6), (6, 8, 7)).size == (2, 3, 1)


@given(st.lists(st.one_of(points, boxes), max_size=8), st.integers(0, 10))
def test_items_keep_their_order_and_their_count(items, n):
    prompt = Prompt()
    for item in items:
        prompt = prompt + item
    assert list(prompt) == items
    assert len(prompt) == len(items)
    assert list(prompt.upto(n)) == items[:n]
    kinds = [type(item) for item in prompt.map(np.diag([1.0, -1, 2, 1]))]
    assert kinds == [type(item) for item in items]
    assert len(prompt.points) + len(prompt.boxes) == len(items)


def test_items_already_in_the_asked_space_are_left_alone():
    affine = np.diag([3.0, 3, 3, 1])
    mixed = Prompt((Point((3, 3, 3)), Point((3, 3, 3), space="mm")))
    assert mixed.in_mm(affine) == Prompt((Point((9, 9, 9), space="mm"), Point((3, 3, 3), space="mm")))
    assert mixed.in_voxels(affine) == Prompt((Point((3, 3, 3)), Point((1, 1, 1))))


def test_one_matrix_cannot_map_voxels_and_millimetres_at_once():
    with pytest.raises(PromptError, match=r"mixes voxel indices and millimetres.*in_mm"):
        Prompt((Point((3, 3, 3)), Point((3, 3, 3), space="mm"))).map(np.eye(4))


@pytest.mark.parametrize(
    ("start", "stop", "axis"),
    [((1, 0, 0), (0, 1, 1), 0), ((0, 3, 0), (1, 2, 1), 1), ((0, 0, 5), (1, 1, 4), 2)],
)
def test_an_inverted_box_is_refused_with_its_axis(start, stop, axis):
    with pytest.raises(PromptError, match=rf"inverted along axis {axis}.*half-open"):
        Box(start, stop)


@pytest.mark.parametrize("wrong", [(0, 0, np.nan), (np.inf, 0, 0)])
def test_numbers_that_are_not_finite_are_refused(wrong):
    with pytest.raises(PromptError, match="finite"):
        Point(wrong)
    with pytest.raises(PromptError, match="finite"):
        Box((0, 0, 0), wrong)


def unchecked(expression: str) -> str:
    """What an expression gives a caller without type checkers (the tests' own would step in first)."""
    program = f"""
import numpy as np
from sam_moe.errors import PromptError
from sam_moe.prompts import Box, Point, Prompt
try:
    print(repr({expression}))
except PromptError as error:
    print("PromptError:", error)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_arrays_and_lists_become_the_same_point_as_a_tuple():
    assert unchecked("len({Point(np.array([1, 2, 3])), Point([1, 2, 3]), Point((1.0, 2, 3))})") == "1\n"


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("Point((1, 2))", "PromptError: a point must be three numbers, (i, j, k) or (x, y, z), not (1, 2)"),
        ("Box((1, 2, 3), 'abc')", "PromptError: a box's stop must be three numbers, not 'abc'"),
        ("Point((1, 2, 3), space='cm')", "PromptError: unknown space 'cm': a prompt is given in 'voxel'"),
        ("Prompt((Point((1, 2, 3)), (1, 2, 3)))", "PromptError: item 1 of the prompt is a tuple; expected"),
    ],
)
def test_values_of_another_type_are_refused_in_words(expression, complaint):
    assert unchecked(expression).startswith(complaint)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_matrix_that_cannot_be_undone_is_refused(matrix):
    with pytest.raises(GeometryError, match="invertible 4x4"):
        Prompt((Point((1, 2, 3)),)).in_voxels(matrix)


@pytest.mark.parametrize("at", [(-0.6, 0, 0), (4.5, 0, 0), (0, 0, 99)])
def test_a_point_outside_names_item_index_shape_and_remedy(at):
    prompt = Prompt((Point((0, 0, 0)), Point(at)))
    with pytest.raises(
        PromptError, match=r"item 1 .* outside the volume of shape \(5, 7, 9\)\. .*\(i, j, k\)"
    ):
        prompt.check_inside(np.eye(4), SHAPE)


def test_a_point_in_millimetres_outside_shows_its_index_and_suspects_lps():
    flipped = np.diag([-2.0, -2.0, 2.0, 1.0])
    with pytest.raises(PromptError, match=r"point \(4, 4, 4\) mm \(voxel index \(-2, -2, 2\)\).*LPS"):
        Prompt((Point((4, 4, 4), space="mm"),)).check_inside(flipped, SHAPE)


def test_items_inside_pass_edges_included():
    everything = Prompt((Point((-0.5, 0, 8.49)), Box((0, 0, 0), SHAPE), Point((8, 12, 0), space="mm")))
    everything.check_inside(np.diag([2.0, 2, 2, 1]), SHAPE)


def test_a_voxel_box_may_not_stick_out_but_one_in_millimetres_may():
    with pytest.raises(PromptError, match=r"box \(0, 0, 0\) to \(5, 7, 10\), item 0 .*reaches out"):
        Prompt((Box((0, 0, 0), (5, 7, 10)),)).check_inside(np.eye(4), SHAPE)
    Prompt((Box((0, 0, 0), (5, 7, 10), space="mm"),)).check_inside(np.eye(4), SHAPE)
    with pytest.raises(PromptError, match="lies outside"):
        Prompt((Box((50, 0, 0), (55, 7, 10), space="mm"),)).check_inside(np.eye(4), SHAPE)


def test_a_negative_count_of_items_is_refused():
    with pytest.raises(PromptError, match="cannot keep -1 items"):
        Prompt().upto(-1)
