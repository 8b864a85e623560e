"""One patient, stored along any axes, is segmented the same in millimetres."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK
import torch

from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample, resample_labels


def dice(first, second):
    first, second = first.bool(), second.bool()
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


def turned(volume, order, flips):
    """The same patient stored along other axes."""
    array = volume.array.permute(order)
    affine = volume.grid.affine[:, [*order, 3]].copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Volume(array.flip(flips), Grid(affine, tuple(array.shape)))


ORIENTATIONS = [
    (order, [axis for axis in range(3) if flips[axis]])
    for order, flips in product(permutations(range(3)), product((0, 1), repeat=3))
]


@pytest.mark.slow
def test_a_scan_stored_along_any_axes_gives_the_same_mask_in_millimetres(sam_moe, cards, generator, tmp_path):
    volume = Volume(torch.rand((40, 36, 44), generator=generator) * 100, phantom_grid())
    at = [f"{x:.6f}" for x in volume.grid.world_of((18, 20, 25))]
    write_volume(tmp_path / "scan.nii.gz", volume)
    words = ["--mm", "--point", *at, "--out"]
    assert sam_moe("predict", tmp_path / "scan.nii.gz", *words, tmp_path / "mask.nii.gz").code == 0
    mask = read(tmp_path / "mask.nii.gz")
    assert 1000 < int(mask.array.sum()) < mask.array.numel() / 2
    for order, flips in ORIENTATIONS:
        write_volume(tmp_path / "turned.nrrd", turned(volume, order, flips))
        assert sam_moe("predict", tmp_path / "turned.nrrd", *words, tmp_path / "turned_mask.nrrd").code == 0
        found = resample_labels(read(tmp_path / "turned_mask.nrrd"), onto=mask.grid)
        assert dice(found.array, mask.array) > 0.99, (order, flips)


def phantom_grid():
    """Oblique, with three different spacings."""
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix()
    affine = np.eye(4)
    affine[:3, :3] = np.array(turn).reshape(3, 3) * (1.5, 1.2, 2.0)
    affine[:3, 3] = (-30, 10, 55)
    return Grid(affine, (40, 36, 44))


def resliced(volume):
    """The scan in oblique slices, twisted by some degrees about all axes, as finely sampled as before."""
    turn = np.array(SimpleITK.Euler3DTransform((0, 0, 0), 0.1, -0.15, 0.2).GetMatrix()).reshape(3, 3)
    spacing = np.array([min(volume.grid.spacing_mm)] * 3)
    corners = (volume.grid.corners_mm - volume.grid.corners_mm.mean(axis=0)) @ turn
    shape = tuple(int(n) for n in np.ceil(np.ptp(corners, axis=0) / spacing))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = volume.grid.corners_mm.mean(axis=0) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return resample(volume, onto=Grid(affine, shape), fill=float(volume.array.min()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "value"), [("chaos_abdomen_mr/{}/chaos_02", 2), ("openkbp_headneck_ct/{}/pt_2", 3)]
)
def test_a_real_scan_turned_or_resliced_and_saved_as_nrrd_gives_the_same_mask(
    sam_moe, data_dir, tmp_path, case, value
):
    path, label_path = (data_dir / f"{case.format(kind)}.nii.gz" for kind in ("images", "labels"))
    if not path.is_file():
        pytest.skip(f"{path} is not among the data here")
    volume, label = read(path), read(label_path)
    inside = (label.array == value).nonzero()
    at = volume.grid.world_of(inside[(inside - inside.float().mean(0)).norm(dim=1).argmin()].numpy())
    low, high = (
        volume.grid.world_of(inside.amin(0).numpy() - 1),
        volume.grid.world_of(inside.amax(0).numpy() + 1),
    )
    corners = [*np.minimum(low, high), *np.maximum(low, high)]
    for prompt in (["--point", *at], ["--box", *corners]):
        words = ["--mm", *(f"{x:.6f}" if isinstance(x, float) else x for x in prompt), "--out"]
        assert sam_moe("predict", path, *words, tmp_path / "mask.nii.gz").code == 0
        mask = read(tmp_path / "mask.nii.gz")
        assert mask.array.any()
        for order, flips in ORIENTATIONS[5::14]:
            write_volume(tmp_path / "turned.nrrd", turned(volume, order, flips))
            assert sam_moe("predict", tmp_path / "turned.nrrd", *words, tmp_path / "other.nrrd").code == 0
            found = resample_labels(read(tmp_path / "other.nrrd"), onto=mask.grid)
            assert dice(found.array, mask.array) > 0.99, (order, flips)
        write_volume(tmp_path / "oblique.nrrd", resliced(volume))
        assert sam_moe("predict", tmp_path / "oblique.nrrd", *words, tmp_path / "other.nrrd").code == 0
        found = resample_labels(read(tmp_path / "other.nrrd"), onto=mask.grid)
        # Reslicing interpolates twice what was interpolated once.
        assert dice(found.array, mask.array) > 0.9
