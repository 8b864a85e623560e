"""Regions lie where they say: held against SciPy through ramps that tell every voxel's place."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from sam_moe.training.crops import CropRanges, draw_crop
from sam_moe.training.sources import Scan, read_cache, write_cache

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
    """Where every voxel of a drawn region lies, in scan voxels, told by three ramps; and its target."""
    crops = []
    for axis in range(3):
        line = (SLOPE * torch.arange(SHAPE[axis])).to(torch.int16)
        ramp = line.reshape([-1 if n == axis else 1 for n in range(3)]).expand(SHAPE).contiguous()
        scan = scan_of(ramp, LABELS, SPACING, tmp_path)
        crops.append(draw_crop(scan, 1, size, ranges, torch.Generator().manual_seed(seed)))
    target = crops[0].target
    assert all(torch.equal(crop.target, target) for crop in crops)
    told = np.stack([crop.image.numpy() / SLOPE for crop in crops], axis=-1)
    # An affine fitted to the voxels of the target, which lie inside for sure, says where the others are.
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1)
    full = np.concatenate([index, np.ones((*index.shape[:3], 1))], axis=-1)
    matrix = np.linalg.lstsq(full[target.numpy()], told[target.numpy()], rcond=None)[0]
    return full @ matrix, told, target.numpy(), matrix


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ranges", [ALIGNED, TURNED], ids=["aligned", "turned"])
@pytest.mark.parametrize("step_mm", [0.95, 2.3, 4.4])
def test_the_target_is_what_scipy_finds_where_the_ramps_say(seed, ranges, step_mm, tmp_path):
    near = {"click_spacing_mm": (step_mm, step_mm), "jitter_voxels": 2.0}
    ranges = CropRanges(0.0, rotated_share=ranges.rotated_share, **near)
    at, told, target, matrix = places(14, ranges, seed, tmp_path)
    # 4 voxels from the border no halved copy knows of an outside
    inside = ((at > 4) & (at < np.array(SHAPE) - 5)).all(axis=-1)
    assert inside.sum() > 0.1 * inside.size
    np.testing.assert_allclose(told[inside], at[inside], atol=0.02)
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
        assert torch.equal(a.target, b.target)
        inner = a.target  # the bean's voxels are far enough from the border
        torch.testing.assert_close(a.image[inner], b.image[inner], atol=1.0, rtol=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_region_around_a_box_holds_the_whole_target(seed, tmp_path):
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    crop = draw_crop(scan, 1, 24, CropRanges(1.0, rotated_share=0.0), torch.Generator().manual_seed(seed))
    sides = [crop.target.select(axis, at) for axis in range(3) for at in (0, -1)]
    assert not any(side.any() for side in sides)
    # extent over edge is the fill that was drawn
    index = crop.target.nonzero()
    fill = ((index.amax(0) - index.amin(0) + 1) / 24).max().item()
    assert 0.35 - 0.1 < fill < 0.85 + 0.05


def test_a_region_is_repeated_by_its_generator_alone(tmp_path):
    scan = scan_of(LABELS * 100, LABELS, SPACING, tmp_path)
    draw = lambda seed: draw_crop(scan, 1, 16, CropRanges(), torch.Generator().manual_seed(seed))  # noqa: E731
    torch.manual_seed(1)
    first = draw(5)
    torch.manual_seed(2)
    again, other = draw(5), draw(6)
    assert torch.equal(first.image, again.image) and torch.equal(first.target, again.target)
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
    assert crop.target.any(dim=0).any(dim=0).sum() == 1


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
        inside, outside = crop.image[crop.target], crop.image[~crop.target]
        shown += abs(inside.mean() - outside.mean()) > inside.std()
    assert shown >= 8
