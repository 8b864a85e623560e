"""Regions lie where they say: held against SciPy through ramps that show every voxel's place."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from sam_moe.training.scans.cache import Scan, read_cache, write_cache
from sam_moe.training.scans.crops import CropRanges, draw_crop, ranges_for

ALIGNED = CropRanges(rotated_share=0.0)
TURNED = CropRanges(rotated_share=1.0)


def scan_of(image, labels, spacing, tmp_path):
    """A scan as training gets it, through the cache, halved copies included."""
    case = {"name": "x", "set": "g", "image": image, "label": labels, "spacing_mm": spacing}
    write_cache([{**case, "structures": {1: "one"}}], tmp_path / "c.safetensors")
    return read_cache(tmp_path / "c.safetensors")[0]


def bean(shape, centre, radii):
    """A warped ellipsoid: no mirroring or turn leaves it as it is."""
    i, j, k = (torch.arange(n).float() for n in shape)
    x = (i - centre[0])[:, None, None] / radii[0]
    y = (j - centre[1])[None, :, None] / radii[1]
    z = (k - centre[2])[None, None, :] / radii[2]
    return ((x**2 + (y + 0.4 * x**2) ** 2 + (z - 0.3 * x) ** 2) < 1).to(torch.int16)


SHAPE, SPACING = (64, 60, 56), (1.0, 1.1, 0.9)
LABELS = bean(SHAPE, (33, 30, 27), (14, 12, 13))
SLOPE = 60  # per voxel; blocks of 2 and 4 voxels average to whole numbers


def places(size, ranges, seed, tmp_path):
    """Where every voxel of a drawn region lies, in scan voxels, by three ramps; and its target."""
    crops = []
    for axis in range(3):
        line = (SLOPE * torch.arange(SHAPE[axis])).to(torch.int16)
        ramp = line.reshape([-1 if n == axis else 1 for n in range(3)]).expand(SHAPE).contiguous()
        scan = scan_of(ramp, LABELS, SPACING, tmp_path)
        crops.append(draw_crop(scan, 1, size, ranges, torch.Generator().manual_seed(seed)))
    target = crops[0].targets[0]
    assert all(torch.equal(crop.targets, target[None]) for crop in crops)
    shown = np.stack([crop.image.numpy() / SLOPE for crop in crops], axis=-1)
    # An affine fitted to the voxels of the target, which lie inside for sure, says where the others are.
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1)
    full = np.concatenate([index, np.ones((*index.shape[:3], 1))], axis=-1)
    matrix = np.linalg.lstsq(full[target.numpy()], shown[target.numpy()], rcond=None)[0]
    return full @ matrix, shown, target.numpy(), matrix


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ranges", [ALIGNED, TURNED], ids=["aligned", "turned"])
@pytest.mark.parametrize("step_mm", [0.95, 2.3, 4.4])
def test_the_target_is_what_scipy_finds_where_the_ramps_say(seed, ranges, step_mm, tmp_path):
    near = {"click_spacing_mm": (step_mm, step_mm), "jitter_voxels": 2.0}
    ranges = CropRanges(0.0, rotated_share=ranges.rotated_share, **near)
    at, shown, target, matrix = places(14, ranges, seed, tmp_path)
    # 4 voxels from the border no halved copy knows of an outside
    inside = ((at > 4) & (at < np.array(SHAPE) - 5)).all(axis=-1)
    assert inside.sum() > 0.1 * inside.size
    np.testing.assert_allclose(shown[inside], at[inside], atol=0.02)
    share = map_coordinates(LABELS.numpy().astype(float), np.moveaxis(at, -1, 0), order=1, cval=0)
    sure = abs(share - 0.5) > 0.01
    np.testing.assert_array_equal(target[sure], (share >= 0.5)[sure])
    edges = matrix[:3] * np.array(SPACING)  # rows: one step along each axis of the region, in mm
    np.testing.assert_allclose(edges @ edges.T, step_mm**2 * np.eye(3), atol=0.02 * step_mm**2)
    straight = np.allclose(abs(edges), step_mm * np.eye(3), atol=0.01 * step_mm)
    assert straight == (ranges.rotated_share == 0)


@pytest.mark.slow
def test_the_place_of_a_region_does_not_depend_on_the_copy_it_is_cut_from(tmp_path):
    ramp = (SLOPE * torch.arange(64)).to(torch.int16)[:, None, None].expand(SHAPE).contiguous()
    scan = scan_of(ramp, LABELS, SPACING, tmp_path)
    assert len(scan.levels) == 4  # the last halves only the one axis below 4 mm
    fine = Scan("x", "g", scan.levels[:1], scan.spacings_mm[:1], scan.labels, scan.structures)
    ranges = CropRanges(0.0, click_spacing_mm=(4.4, 4.4), rotated_share=1.0, jitter_voxels=0)
    for seed in range(5):
        a, b = (draw_crop(s, 1, 12, ranges, torch.Generator().manual_seed(seed)) for s in (scan, fine))
        assert torch.equal(a.targets, b.targets)
        inner = a.targets[0]  # the bean's voxels are far enough from the border
        torch.testing.assert_close(a.image[inner], b.image[inner], atol=1.0, rtol=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_region_around_a_box_holds_the_whole_target(seed, tmp_path):
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    crop = draw_crop(scan, 1, 24, CropRanges(1.0, rotated_share=0.0), torch.Generator().manual_seed(seed))
    sides = [crop.targets[0].select(axis, at) for axis in range(3) for at in (0, -1)]
    assert not any(side.any() for side in sides)
    # extent over edge is the fill that was drawn
    index = crop.targets[0].nonzero()
    fill = ((index.amax(0) - index.amin(0) + 1) / 24).max().item()
    assert 0.35 - 0.1 < fill < 0.85 + 0.05


def test_a_region_is_repeated_by_its_generator_alone(tmp_path):
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    draw = lambda seed: draw_crop(scan, 1, 16, CropRanges(), torch.Generator().manual_seed(seed))  # noqa: E731
    torch.manual_seed(1)
    first = draw(5)
    torch.manual_seed(2)
    again, other = draw(5), draw(6)
    assert torch.equal(first.image, again.image) and torch.equal(first.targets, again.targets)
    assert not torch.equal(first.image, other.image)


def test_what_lies_beyond_the_scan_is_its_minimum(tmp_path):
    labels = torch.zeros(20, 20, 20, dtype=torch.int16)
    labels[:6, 8:14, 8:14] = 1
    scan = scan_of(torch.full((20, 20, 20), 500, dtype=torch.int16), labels, (1.0, 1.0, 1.0), tmp_path)
    ranges = CropRanges(0.0, click_spacing_mm=(1.5, 1.5), rotated_share=0.0, jitter_voxels=0)
    crop = draw_crop(scan, 1, 32, ranges, torch.Generator().manual_seed(0))
    values = crop.image.unique()
    assert values.min() == 0 and abs(values.max() - 500) < 0.01
    assert 20**3 / 1.5**3 / 32**3 / 2 < (crop.image > 499).float().mean() < 20**3 / 1.5**3 / 32**3 * 1.1


def test_a_scan_of_one_slice_is_one_slice_thick(tmp_path):
    labels = torch.zeros(30, 30, 1, dtype=torch.int16)
    labels[8:22, 8:22] = 1
    scan = scan_of(labels * 300, labels, (1.0, 1.0, 1.0), tmp_path)
    ranges = CropRanges(0.0, click_spacing_mm=(1.0, 1.0), rotated_share=0.0, jitter_voxels=0)
    crop = draw_crop(scan, 1, 16, ranges, torch.Generator().manual_seed(0))
    assert crop.targets[0].any(dim=0).any(dim=0).sum() == 1


def test_a_structure_of_which_too_little_is_seen_gives_no_region(tmp_path):
    labels = torch.zeros(20, 20, 20, dtype=torch.int16)
    labels[5, 5, 5:16] = 1  # 11 voxels
    scan = scan_of(labels * 1, labels, (1.0, 1.0, 1.0), tmp_path)
    assert draw_crop(scan, 1, 16, CropRanges(), torch.Generator().manual_seed(0)) is None


def test_a_label_map_gets_an_image_that_shows_its_structures(tmp_path):
    scan = Scan("x", "g", (), (SPACING,), LABELS, {1: "one"})
    shown = 0
    for seed in range(12):
        crop = draw_crop(scan, 1, 24, CropRanges(1.0), torch.Generator().manual_seed(seed))
        assert crop.image.min() == 0 and torch.isfinite(crop.image).all()
        inside, outside = crop.image[crop.targets[0]], crop.image[~crop.targets[0]]
        shown += abs(inside.mean() - outside.mean()) > inside.std()
    assert shown >= 8


NARROW = CropRanges(1.0, box_fill=(0.6, 0.85))


def crossing(names=(1, 2, 3, 4)):
    """Four structures, each two cubes in opposite corners of one box: regions around any are the same."""
    labels = torch.zeros(40, 40, 40, dtype=torch.int16)
    for n, ends in enumerate([(6, 6, 6), (22, 6, 6), (6, 22, 6), (6, 6, 22)], start=1):
        for i, j, k in (ends, [28 - x for x in ends]):
            labels[i : i + 12, j : j + 12, k : k + 12] = n
    return Scan("x", "g", (labels * 100,), (SPACING,), labels, {n: str(n) for n in names})


@pytest.mark.parametrize("seed", range(6))
def test_further_targets_are_the_regions_other_structures_each_as_if_asked_for_alone(seed):
    scan = crossing()
    draw = lambda label, n: draw_crop(scan, label, 32, NARROW, torch.Generator().manual_seed(seed), n)  # noqa: E731
    several, alone = draw(2, 4), {label: draw(label, 1) for label in scan.structures}
    assert several.targets.shape == (4, 32, 32, 32)
    found = [
        label for seen in several.targets for label in alone if torch.equal(seen, alone[label].targets[0])
    ]
    assert found[0] == 2 and sorted(found) == [1, 2, 3, 4]
    assert torch.equal(several.image, alone[2].image)


def test_which_structures_are_asked_for_besides_is_drawn_and_none_comes_twice():
    scan, met = crossing(), set()
    for seed in range(12):
        crop = draw_crop(scan, 1, 32, NARROW, torch.Generator().manual_seed(seed), 3)
        assert crop.targets.sum(dim=0).max() == 1 and (crop.targets.flatten(1).sum(1) >= 200).all()
        first, second, _ = [int(crop.image[seen].median().div(100).round()) for seen in crop.targets]
        met |= {second}
        assert first == 1
    assert met == {2, 3, 4}


def test_a_region_that_shows_too_few_structures_repeats_them_in_turn():
    one = draw_crop(crossing([3]), 3, 32, NARROW, torch.Generator().manual_seed(0), 3)
    alone = draw_crop(crossing([3]), 3, 32, NARROW, torch.Generator().manual_seed(0))
    assert torch.equal(one.targets, alone.targets.expand(3, -1, -1, -1))
    a, b, c, d = draw_crop(crossing([1, 3]), 3, 32, NARROW, torch.Generator().manual_seed(0), 4).targets
    assert torch.equal(a, alone.targets[0]) and b.any() and not (a & b).any()
    assert torch.equal(c, a) and torch.equal(d, b)


def test_of_which_too_little_is_seen_is_no_further_target():
    near = CropRanges(0.0, click_spacing_mm=(1.0, 1.0), rotated_share=0.0, jitter_voxels=0)
    for thick, wanted in ((2, False), (3, True)):  # a sheet of 180 and one of 270 voxels
        labels = torch.zeros(48, 48, 48, dtype=torch.int16)
        labels[20:24, 20:24, 20:24], labels[26 : 26 + thick, 17:26, 16:26] = 1, 2
        scan = Scan("x", "g", (labels,), ((1.0, 1.0, 1.0),), labels, {1: "cube", 2: "sheet"})
        drawn = [draw_crop(scan, 1, 32, near, torch.Generator().manual_seed(n), 2) for n in range(40)]
        assert any(not torch.equal(*crop.targets) for crop in drawn) == wanted


@pytest.mark.parametrize("mirrored", [(1.0, 0.0, 0.0), (0.0, 1.0, 1.0)])
def test_regions_are_mirrored_along_the_axes_that_are_asked_for(mirrored, tmp_path):
    ranges = CropRanges(0.0, click_spacing_mm=(1.5, 1.5), rotated_share=0.0, mirrored_share=mirrored)
    *_, matrix = places(14, ranges, 0, tmp_path)
    assert np.sign(np.diag(matrix[:3])).tolist() == [1 - 2 * share for share in mirrored]


def test_a_label_map_is_asked_for_the_same_targets_as_a_scan():
    scan = crossing()
    bare = Scan("x", "g", (), (SPACING,), scan.labels, scan.structures)
    a, b = (draw_crop(s, 1, 32, NARROW, torch.Generator().manual_seed(1), 3) for s in (scan, bare))
    assert torch.equal(a.targets, b.targets) and b.image.shape == (32, 32, 32)


def test_of_more_candidates_the_deepest_is_the_middle(tmp_path):
    """A random voxel of a ball lies at 3/4 of its radius on the mean; the deepest of 40 far inside."""
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    still = {"rotated_share": 0.0, "mirrored_share": (0.0,) * 3, "click_spacing_mm": (1.0, 1.0)}

    def away(candidates, seed):
        ranges = CropRanges(0.0, jitter_voxels=0.0, candidates=candidates, **still)
        crop = draw_crop(scan, 1, 48, ranges, torch.Generator().manual_seed(seed))
        inside = crop.targets[0].nonzero().float()
        return float((inside.mean(0) - 24).norm())  # of the target's middle from the region's

    one, many = ([away(n, seed) for seed in range(12)] for n in (1, 40))
    assert np.mean(many) < 0.6 * np.mean(one)


def test_the_ranges_of_small_are_the_defaults_to_the_bit():
    assert ranges_for(1.5, 0.33, 6.0, 1.5, 0.6) == CropRanges()


def test_the_ranges_of_the_public_model_are_those_in_which_it_is_asked():
    ranges = ranges_for(1.5, 1.0, 8.0, 1.0, 0.9)  # its card: never finer than 1.5 mm
    assert ranges.limits_mm == (1.5, 9.0)
    assert ranges.click_spacing_mm == pytest.approx((1.2 * 2 / 3, 4.5 * 2 / 3))  # 1.5 mm where small has 2.25
    assert ranges.box_fill == pytest.approx((0.35 * 1.5, 1.0))  # 0.9 where small has 0.6


def test_a_model_of_coarse_voxels_is_never_asked_finer():
    assert ranges_for(12.0, 1.0, 2.0, 1.0, 0.9).limits_mm == (12.0, 12.0)


@pytest.mark.parametrize(
    "ranges", [CropRanges(1.0), CropRanges(0.0, jitter_voxels=0.0)], ids=["box", "click"]
)
def test_no_region_is_finer_than_its_limit(ranges, tmp_path):
    """At 4 mm a structure has as many voxels as it has volume, however large the region could show it."""
    ranges = replace(ranges, rotated_share=0.0, limits_mm=(4.0, 4.0))
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    volume_mm3 = len(scan.voxels[1]) * math.prod(scan.spacings_mm[0])
    crop = draw_crop(scan, 1, 24, ranges, torch.Generator().manual_seed(0))
    assert int(crop.targets[0].sum()) * 4.0**3 == pytest.approx(volume_mm3, rel=0.1)
