import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as sized
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from sam_moe.errors import GeometryError
from sam_moe.evaluation.scoring.metrics import (
    diagonal_mm,
    dice,
    hd95_mm,
    nsd,
    volume_ml,
    volumetric_similarity,
)

ISOTROPIC = (1.0, 1.0, 1.0)
# compute_surface_dice_at_tolerance(…, 2.0) of surface-distance 0.1, computed once
NSD_ISOTROPIC, NSD_ANISOTROPIC = 0.746966515583453, 0.6506891115900971


def cube(start, edge, shape=(24, 24, 24)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


def voxels(*places, shape=(12, 12, 24)):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def line(length, shape=(12, 12, 24)):
    return voxels(*((5, 5, k) for k in range(length)), shape=shape)


masks = arrays.arrays(bool, (5, 6, 4), elements=st.booleans()).filter(lambda mask: mask.any())
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.0])] * 3)


def test_half_of_a_mask_found_is_two_thirds():
    assert dice(line(10), line(5)) == pytest.approx(2 / 3)


def test_dice_is_monais():
    one, other = cube((4, 4, 4), 8), cube((6, 5, 4), 9)
    theirs = compute_dice(torch.from_numpy(other)[None, None], torch.from_numpy(one)[None, None])
    assert dice(one, other) == pytest.approx(theirs.item(), abs=1e-6)


@given(masks, masks, spacings)
@sized(max_examples=10)
def test_distances_are_monais(one, other, spacing_mm):
    batch = [torch.from_numpy(mask)[None, None] for mask in (other, one)]
    keys = {"include_background": True, "spacing": list(spacing_mm)}
    farthest = compute_hausdorff_distance(*batch, percentile=95, **keys)
    assert hd95_mm(one, other, spacing_mm) == pytest.approx(farthest.item(), abs=1e-4)
    share = compute_surface_dice(*batch, class_thresholds=[2.0], use_subvoxels=True, **keys)
    assert nsd(one, other, spacing_mm) == pytest.approx(share.item(), abs=1e-5)


def test_a_long_image_is_worked_through_in_pieces_without_seams():
    one, other = (np.zeros((70, 6, 5), dtype=bool) for _ in range(2))
    one[3:35, 2:4, 1:4], one[68:] = True, True  # nothing in between, for longer than a piece
    other[5:33, 2:5, 1:3], other[69:] = True, True
    batch = [torch.from_numpy(mask)[None, None] for mask in (other, one)]
    share = compute_surface_dice(
        *batch, class_thresholds=[0.8], use_subvoxels=True, include_background=True, spacing=[0.7, 1.0, 2.0]
    )
    assert 0.1 < share.item() < 0.9
    assert nsd(one, other, (0.7, 1.0, 2.0), 0.8) == pytest.approx(share.item(), abs=1e-5)


def test_volumetric_similarity_does_not_care_where_the_volumes_are():
    assert volumetric_similarity(cube((0, 0, 0), 4), cube((12, 12, 12), 4)) == 1
    assert volumetric_similarity(line(10), line(5)) == pytest.approx(2 / 3)  # 1 - 5 / 15


def test_volumes_are_in_millilitres():
    assert volume_ml(cube((0, 0, 0), 10), (1.0, 2.0, 3.0)) == pytest.approx(6.0)


def test_single_voxels_lie_as_far_apart_as_their_centres():
    one, other = voxels((2, 2, 2)), voxels((2, 6, 5))
    assert hd95_mm(one, other, (1.0, 1.0, 1.0)) == pytest.approx(5)  # 3, 4, 5
    assert hd95_mm(one, other, (9.0, 1.5, 2.0)) == pytest.approx(72**0.5)  # 6 mm and 6 mm


def test_the_95th_percentile_is_interpolated():
    # 19 distances of 0 and one of 6: place 0.95 * 19 = 18.05 in order, a twentieth of the way to the 6
    spread = line(19) | voxels((11, 5, 0))
    assert hd95_mm(line(19), spread, ISOTROPIC) == pytest.approx(0.05 * 6)


def test_the_larger_of_both_directions_counts():
    short, long = line(1), line(21)
    # from the long line to its first voxel: 0 to 20, of which the 95th percentile is 19
    assert hd95_mm(short, long, ISOTROPIC) == pytest.approx(19)
    assert hd95_mm(long, short, ISOTROPIC) == pytest.approx(19)


def test_beyond_the_image_is_background():
    whole = np.ones((6, 6, 6), dtype=bool)
    assert hd95_mm(whole, cube((0, 0, 0), 5, (6, 6, 6)), ISOTROPIC) > 0


def test_a_cube_grown_by_a_voxel_is_within_two_millimetres_but_not_half_a_one():
    one, other = cube((6, 6, 6), 8), cube((5, 5, 5), 10)
    assert nsd(one, other, ISOTROPIC, 2.0) == 1
    assert nsd(one, other, ISOTROPIC, 0.5) == 0


def test_nsd_is_what_google_deepminds_surface_distance_says():
    one, other = cube((4, 4, 4), 10), cube((7, 5, 4), 10)
    assert nsd(one, other, ISOTROPIC) == pytest.approx(NSD_ISOTROPIC, abs=1e-6)
    assert nsd(one, other, (0.7, 0.7, 3.0)) == pytest.approx(NSD_ANISOTROPIC, abs=1e-6)


@given(masks, masks, spacings)
@sized(max_examples=10)
def test_surface_distance_agrees_where_it_is_installed(one, other, spacing_mm):
    theirs = pytest.importorskip("surface_distance", reason="pip install surface-distance==0.1")
    found = theirs.compute_surface_distances(one, other, spacing_mm)
    expected = theirs.compute_surface_dice_at_tolerance(found, 2.0)
    assert nsd(one, other, spacing_mm) == pytest.approx(float(expected), abs=1e-5)


def test_the_diagonal_runs_from_outer_edge_to_outer_edge():
    assert diagonal_mm((3, 4, 12), (2.0, 2.0, 2.0)) == pytest.approx(26)


@given(masks)
@sized(max_examples=20)
def test_every_mask_agrees_with_itself(mask):
    assert (dice(mask, mask), volumetric_similarity(mask, mask)) == (1, 1)
    assert (nsd(mask, mask, ISOTROPIC), hd95_mm(mask, mask, ISOTROPIC)) == (1, 0)


@given(masks, masks, spacings)
@sized(max_examples=10)
def test_truth_and_answer_may_change_places(one, other, spacing_mm):
    assert dice(one, other) == dice(other, one)
    assert volumetric_similarity(one, other) == volumetric_similarity(other, one)
    assert hd95_mm(one, other, spacing_mm) == pytest.approx(hd95_mm(other, one, spacing_mm))
    assert nsd(one, other, spacing_mm) == pytest.approx(nsd(other, one, spacing_mm), abs=1e-6)


@given(masks, masks, spacings, st.sampled_from([0.25, 2.0, 4.0]))
@sized(max_examples=10)
def test_distances_scale_with_the_spacing(one, other, spacing_mm, factor):
    x, y, z = spacing_mm
    larger = (factor * x, factor * y, factor * z)
    assert hd95_mm(one, other, larger) == pytest.approx(factor * hd95_mm(one, other, spacing_mm), rel=1e-5)
    # 1.3: no distance between voxels of these spacings is equal to it, so that rounding cannot decide
    assert nsd(one, other, larger, 1.3 * factor) == pytest.approx(nsd(one, other, spacing_mm, 1.3), abs=1e-5)


@given(masks, masks, spacings, st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3))
@sized(max_examples=10)
def test_a_wider_image_and_another_place_in_it_change_nothing(one, other, spacing_mm, margins):
    wider, elsewhere = np.pad(one, margins), np.pad(other, margins)
    assert dice(wider, elsewhere) == dice(one, other)
    assert hd95_mm(wider, elsewhere, spacing_mm) == pytest.approx(hd95_mm(one, other, spacing_mm))
    assert nsd(wider, elsewhere, spacing_mm) == pytest.approx(nsd(one, other, spacing_mm), abs=1e-6)


@given(masks, masks)
@sized(max_examples=10)
def test_shares_stay_between_0_and_1_and_distances_within_the_image(one, other):
    assert all(0 <= share <= 1 for share in (dice(one, other), nsd(one, other, ISOTROPIC)))
    assert 0 <= hd95_mm(one, other, ISOTROPIC) < diagonal_mm(one.shape, ISOTROPIC)


@pytest.mark.parametrize(
    "metric",
    [dice, volumetric_similarity, lambda a, b: hd95_mm(a, b, ISOTROPIC), lambda a, b: nsd(a, b, ISOTROPIC)],
)
def test_masks_of_two_shapes_are_refused(metric):
    with pytest.raises(GeometryError, match=r"\(4, 4, 4\).*\(4, 4, 5\).*resample"):
        metric(np.ones((4, 4, 4), dtype=bool), np.ones((4, 4, 5), dtype=bool))


EMPTY, FULL = np.zeros((3, 4, 12), dtype=bool), np.ones((3, 4, 12), dtype=bool)


@pytest.mark.parametrize(
    ("metric", "both", "one"),
    [
        (dice, 1, 0),
        (volumetric_similarity, 1, 0),
        (lambda a, b: nsd(a, b, ISOTROPIC), 1, 0),
        (lambda a, b: nsd(a, b, ISOTROPIC, 1000.0), 1, 0),  # whatever the tolerance is
        (lambda a, b: hd95_mm(a, b, ISOTROPIC), 0, 13),  # the diagonal of 3, 4 and 12 mm
        (lambda a, b: volume_ml(a, ISOTROPIC) + volume_ml(b, ISOTROPIC), 0, 0.144),
    ],
)
def test_the_table_of_empty_masks(metric, both, one):
    assert metric(EMPTY, EMPTY) == both
    assert metric(FULL, EMPTY) == metric(EMPTY, FULL) == one
