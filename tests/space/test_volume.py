import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio as tio
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from sam_moe.errors import GeometryError
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample, resample_labels, resample_seen


def plain(volume, onto, fill=0.0):
    """Every voxel on its own, in double precision, by SciPy."""
    index = np.indices(onto.shape).reshape(3, -1).T
    at = volume.grid.index_of(onto.world_of(index)).T
    last = np.array(volume.grid.shape)[:, None] - 1
    outside = ((at < -0.5 - 1e-6) | (at > last + 0.5 + 1e-6)).any(axis=0)
    out = map_coordinates(volume.array.double().numpy(), np.clip(at, 0, last), order=1)
    out[outside] = fill
    return out.reshape(onto.shape)


def itk(volume):
    image = sitk.GetImageFromArray(volume.array.numpy().transpose(2, 1, 0))
    affine = np.diag([-1, -1, 1, 1]) @ volume.grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def noise(grid, seed=0):
    return Volume(torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed)), grid)


@given(data=st.data())
def test_resample_is_trilinear_interpolation(grids, data):
    near = {"most_degrees": 180.0, "reach_mm": 15.0}
    source = noise(data.draw(grids(**near)))
    onto = data.draw(grids(**near))
    # Ours rounds places to 1e-6 of a voxel, and neighbours of this noise lie up to 8 apart.
    np.testing.assert_allclose(resample(source, onto, fill=-3).array, plain(source, onto, -3), atol=1e-5)


@given(data=st.data())
def test_resample_agrees_with_simpleitk(grids, data):
    source = noise(data.draw(grids(reach_mm=15.0, fewest=2)))
    onto = data.draw(grids(reach_mm=15.0))
    frame = itk(Volume(torch.zeros(onto.shape), onto))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(itk(source), frame, sitk.Transform(), sitk.sitkLinear, 0.0)
    ).T
    ours = resample(source, onto).array.numpy()
    index = source.grid.index_of(onto.world_of(np.indices(onto.shape).reshape(3, -1).T))
    edge = np.minimum(np.abs(index + 0.5), np.abs(index + 0.5 - np.array(source.grid.shape))).min(axis=1)
    certain = (edge > 1e-4).reshape(onto.shape)  # half a voxel out to the last digit: either answer will do
    np.testing.assert_allclose(ours[certain], theirs[certain], atol=2e-5)


def test_the_border_reaches_half_a_voxel_out():
    source = Volume(torch.tensor([10.0, 20.0]).view(2, 1, 1), Grid(np.eye(4), (2, 1, 1)))
    affine = np.diag([0.25, 1, 1, 1])
    affine[0, 3] = -0.75
    got = resample(source, Grid(affine, (10, 1, 1)), fill=-1).array.flatten().tolist()
    #      -0.75 -0.5 -0.25 0   0.25  0.5 0.75  1   1.25 1.5
    assert got == [-1, 10, 10, 10, 12.5, 15, 17.5, 20, 20, 20]


@given(data=st.data())
def test_a_linear_ramp_stays_the_same_ramp(grids, data):
    source, onto = data.draw(grids(reach_mm=10.0, fewest=4)), data.draw(grids(reach_mm=10.0))

    def ramp(grid):
        x, y, z = grid.world_of(np.indices(grid.shape).reshape(3, -1).T).T
        return (1 + 2 * x - 3 * y + 0.5 * z).reshape(grid.shape)

    got = resample(Volume(torch.from_numpy(ramp(source)), source), onto, fill=float("nan")).array.numpy()
    index = source.index_of(onto.world_of(np.indices(onto.shape).reshape(3, -1).T))
    between = ((index >= 0) & (index <= np.array(source.shape) - 1)).all(axis=1).reshape(onto.shape)
    np.testing.assert_allclose(got[between], ramp(onto)[between], atol=1e-4)  # of values up to 500: float32


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float32, torch.int64, torch.bool])
def test_the_same_grid_gives_the_same_numbers(dtype, generator):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix() * (0.7, 0.8, 3.1)
    affine[:3, 3] = (-123.4, 56.7, 890.1)
    grid = Grid(affine, (9, 8, 7))
    array = torch.randint(0, 100, grid.shape, generator=generator).to(dtype)
    assert torch.equal(resample(Volume(array, grid), grid).array, array.float())
    labels = resample_labels(Volume(array, grid), grid).array
    assert labels.dtype == dtype
    assert torch.equal(labels, array)


@pytest.mark.parametrize("tilt", [0, 10], ids=["parallel", "oblique"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_patient_stored_along_other_axes_gives_the_same_region(orientation, tilt, layout, generator):
    affine = np.diag([0.9, 1.1, 2.5, 1])
    affine[:3, :3] = Rotation.from_euler("xyz", (tilt, tilt, 0), degrees=True).as_matrix() @ affine[:3, :3]
    straight = Volume(
        torch.randint(-99, 99, (21, 18, 9), generator=generator).short(), Grid(affine, (21, 18, 9))
    )
    axes = np.abs(orientation).argmax(axis=0)
    signs = orientation[axes, range(3)]
    array = straight.array.permute(*axes.tolist()).flip([int(a) for a in np.flatnonzero(signs < 0)])
    array = array.contiguous() if layout == "C" else array.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    stored = np.eye(4)
    stored[:3, :3] = affine[:3, :3] @ orientation
    first = np.where(signs < 0, np.array(array.shape) - 1, 0)
    stored[:3, 3] = -stored[:3, :3] @ first
    region = Grid.around(straight.grid.world_of((10, 9, 4)), (16, 16, 16), (1.5, 1.5, 1.5))
    one = resample(straight, region).array
    other = resample(Volume(array, Grid(stored, array.shape)), region).array
    assert one.abs().max() > 1
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * 198)
    nearest = [resample_labels(v, region).array for v in (straight, Volume(array, Grid(stored, array.shape)))]
    assert torch.equal(*nearest)


@pytest.mark.parametrize("shape", [(40, 36, 30), (20, 50, 12)], ids=["cropped", "padded"])
@pytest.mark.parametrize(
    ("codes", "angles"),
    [("RAS", 0), ("LPS", 0), ("SRA", 0), ("IPL", 0), ("RAS", 12), ("LPS", -7), ("PIR", 20)],
)
def test_resample_equals_torchio_from_resample_over_canonical_to_crop(codes, angles, shape, rng):
    world = [("LR".find(c), "PA".find(c), "IS".find(c)) for c in codes]
    axes = np.array([[0 if at < 0 else 2 * at - 1 for at in row] for row in world]).T
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (angles, angles / 2, -angles), degrees=True).as_matrix()
    affine[:3, :3] = turn @ axes * (0.8, 1.7, 2.3)
    affine[:3, 3] = (-30, 12, 44)
    array = rng.normal(size=shape).astype(np.float32)
    chain = tio.Compose([tio.Resample(1.5), tio.ToCanonical(), tio.CropOrPad((32, 32, 32))])
    theirs = chain(tio.ScalarImage(tensor=array[None], affine=affine))
    onto = Grid(np.asarray(theirs.affine), (32, 32, 32))
    ours = resample(Volume(torch.from_numpy(array), Grid(affine, shape)), onto).array
    spread = float(array.max() - array.min())
    wrong = (ours - theirs.data[0]).abs() > 1e-5 * spread
    assert not wrong.any()


REGION = Grid.around((3, 4, 5), (24, 20, 16), (1.5, 1.5, 1.5))


def a_scan(tilt):
    affine = np.diag([-0.8, 0.9, 2.0, 1])
    affine[:3, :3] = Rotation.from_euler("xyz", (tilt, 0, tilt), degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (38, -40, -35)
    return Grid(affine, (90, 96, 40))


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
def test_only_the_needed_part_of_a_scan_is_converted(tilt):
    # 2^42 voxels: whole they would be 8 TiB, as float32 16 TiB
    affine = a_scan(tilt).affine
    endless = Volume(torch.ones(1, dtype=torch.int16).expand(2**14, 2**14, 2**14), Grid(affine, (2**14,) * 3))
    region = Grid.around(endless.grid.world_of((8000, 8000, 8000)), (16, 16, 16), (1.5, 1.5, 1.5))
    assert (resample(endless, region).array == 1).all()
    assert (resample_labels(endless, region).array == 1).all()


@pytest.mark.parametrize("tilt", [0, 25])
def test_what_is_seen_of_a_region_is_the_part_of_everything_to_the_bit(tilt):
    rotated = np.eye(4)
    rotated[:3, :3] = Rotation.from_euler("zx", [tilt, tilt / 2], degrees=True).as_matrix() * 0.9
    rotated[:3, 3] = -30
    region, scan = noise(REGION), Grid(rotated, (90, 80, 70))
    everywhere = resample(region, scan).array
    part, where = resample_seen(region, scan)
    assert torch.equal(everywhere[where], part) and part.numel() < everywhere.numel()
    everywhere[where] = 0
    assert not everywhere.any()
    far = Grid.around((9000, 0, 0), (4, 4, 4), (1, 1, 1))
    assert resample_seen(region, far)[0].shape == (0, 0, 0)


def test_a_scan_elsewhere_gives_only_fill():
    far = Grid.around((900, 0, 0), (4, 4, 4), (1, 1, 1))
    assert (resample(noise(REGION), far, fill=-7).array == -7).all()
    assert (
        resample_labels(Volume(torch.ones(REGION.shape, dtype=torch.uint8), REGION), far).array == 0
    ).all()


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
def test_labels_survive_a_finer_grid_and_back(tilt, generator):
    scan = a_scan(tilt)
    labels = Volume(torch.randint(0, 5, scan.shape, generator=generator).to(torch.uint8), scan)
    affine = scan.affine.copy()
    affine[:3, :3] /= 3  # voxel 3n + 1 lies on voxel n
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)
    fine = Grid(affine, tuple(3 * n for n in scan.shape))
    back = resample_labels(resample_labels(labels, fine), scan)
    assert back.array.dtype == torch.uint8
    assert torch.equal(back.array, labels.array)


@how(max_examples=30)
@given(data=st.data())
def test_labels_are_those_of_the_nearest_voxel(grids, data):
    source, onto = data.draw(grids(reach_mm=10.0)), data.draw(grids(reach_mm=10.0))
    names = torch.arange(source.shape[0] * source.shape[1] * source.shape[2]).view(source.shape) + 1
    got = resample_labels(Volume(names, source), onto).array.numpy()
    index = source.index_of(onto.world_of(np.indices(onto.shape).reshape(3, -1).T))
    clear = (np.abs(index - np.floor(index) - 0.5) > 1e-5).all(axis=1)  # not halfway between two
    inside = ((index > -0.5) & (index < np.array(source.shape) - 0.5)).all(axis=1)
    i, j, k = np.rint(index).astype(int).clip(0, np.array(source.shape) - 1).T
    wanted = np.where(inside, names.numpy()[i, j, k], 0)
    assert (got.ravel() == wanted)[clear].all()


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(GeometryError, match=r"\(2, 3, 4\) does not fit Grid\(24x20x16"):
        Volume(torch.zeros(2, 3, 4), REGION)


RESTORE = """
import resource, numpy as np, torch
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample
scan = Grid(np.diag([-0.8, -0.8, 1.5, 1.0]), (512, 512, 300))
region = Grid.around(scan.world_of((250, 250, 150)), (128, 128, 128), (1.5, 1.5, 1.5))
probability = Volume(torch.rand(128, 128, 128), region)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out = resample(probability, onto=scan)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, out.array.shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in kilobytes, as Linux does")
def test_restoring_takes_the_memory_of_the_output_and_the_box():
    done = subprocess.run([sys.executable, "-c", RESTORE], capture_output=True, text=True, check=True)
    kilobytes = int(done.stdout.split()[0])
    # output 512 * 512 * 300 * 4 = 300 MiB, of which only the box is touched, and bounded temporaries
    assert kilobytes < (300 + 200) * 1024
