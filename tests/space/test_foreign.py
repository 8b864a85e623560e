"""Images of other libraries keep every voxel's place, on the way in and on the way back."""

import subprocess
import sys
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

import sam_moe
from sam_moe.errors import FileError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.prompts import Prompt
from sam_moe.registry import Preprocessing
from sam_moe.space.files import read, write_volume
from sam_moe.space.foreign import as_volume, to_monai, to_torchio
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume

torchio = pytest.importorskip("torchio")
monai_data = pytest.importorskip("monai.data")

SHAPE = (5, 6, 7)


@pytest.fixture
def model():
    sizes = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = SamMed3D(sizes).eval().requires_grad_(False)
    card = Preprocessing(region_voxels=32, spacing_mm=1.5, normalisation="positive")
    return Model(PromptableSam3D(network, "positive", "mask"), card, "random", whole_targets=False)


def oblique() -> np.ndarray:
    """Turned about two axes, spacings 0.7 x 1.1 x 3, off the origin."""
    a, b = 0.3, -0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x * [0.7, 1.1, 3]
    affine[:3, 3] = 12, -7, 33
    return affine


def oriented() -> list:
    """All 48 orders and directions of the axes, straight and oblique."""
    found = []
    for base, order, flips in product(
        (np.diag([0.7, 1.1, 3, 1]), oblique()), permutations(range(3)), product((1, -1), repeat=3)
    ):
        turn = np.zeros((4, 4))
        turn[list(order), range(3)] = flips
        turn[3, 3] = 1
        found.append(base @ turn)
    return found


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)


def of_torchio(array, affine):
    return torchio.ScalarImage(tensor=torch.from_numpy(array)[None], affine=affine)


def of_monai(array, affine):
    return monai_data.MetaTensor(torch.from_numpy(array)[None], affine=torch.tensor(affine))


def of_monai_without_channel(array, affine):
    return monai_data.MetaTensor(torch.from_numpy(array), affine=torch.tensor(affine))


def of_monai_in_lps(array, affine):
    turned = np.diag([-1.0, -1, 1, 1]) @ affine
    return monai_data.MetaTensor(torch.from_numpy(array), affine=torch.tensor(turned), meta={"space": "LPS"})


def of_nibabel(array, affine):
    return nibabel.Nifti1Image(array, affine)


def of_simpleitk(array, affine):
    image = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0))
    turned = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(turned[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(turned[:3, 3].tolist())
    image.SetDirection((turned[:3, :3] / spacing).ravel().tolist())
    return image


KINDS = [of_torchio, of_monai, of_monai_without_channel, of_monai_in_lps, of_nibabel, of_simpleitk]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_voxel_keeps_its_number_and_its_place(kind, array):
    for affine in oriented():
        found = as_volume(kind(array, affine))
        assert np.array_equal(found.array.numpy(), array)
        assert found.array.dtype == torch.int16 and type(found.array) is torch.Tensor
        np.testing.assert_allclose(found.grid.affine, affine, atol=1e-9)


def test_a_file_means_the_same_to_torchio_to_nibabel_to_simpleitk_and_to_us(array, tmp_path):
    for number, affine in enumerate(oriented()):
        path = tmp_path / f"{number}.nii"
        write_volume(path, Volume(array, affine))
        ours = read(path)
        for theirs in (torchio.ScalarImage(path), nibabel.load(path), SimpleITK.ReadImage(str(path))):
            found = as_volume(theirs)
            assert torch.equal(found.array.to(ours.array.dtype), ours.array)
            assert found.grid.same_as(ours.grid)


def test_a_subject_of_one_image_is_that_image_and_of_several_it_must_be_named(array):
    image = of_torchio(array, oblique())
    label = torchio.LabelMap(tensor=torch.ones(1, *SHAPE, dtype=torch.uint8), affine=oblique())
    found = as_volume(torchio.Subject(ct=image, organ=label))
    assert np.array_equal(found.array.numpy(), array)
    with pytest.raises(FileError, match="2 intensity images: ct, mr. Expected one"):
        as_volume(torchio.Subject(ct=image, mr=of_torchio(array, oblique())))
    with pytest.raises(FileError, match="0 intensity images: none"):
        as_volume(torchio.Subject(organ=label))


@pytest.mark.parametrize(
    "image",
    [
        lambda: torchio.ScalarImage(tensor=torch.rand(2, *SHAPE)),
        lambda: monai_data.MetaTensor(torch.rand(3, *SHAPE)),
        lambda: nibabel.Nifti1Image(np.zeros((*SHAPE, 4), np.float32), np.eye(4)),
        lambda: SimpleITK.GetImageFromArray(np.zeros((*SHAPE, 3), np.float32), isVector=True),
        lambda: SimpleITK.GetImageFromArray(np.zeros((4, 5), np.float32)),
    ],
)
def test_several_channels_or_times_are_refused_with_what_there_is(image):
    with pytest.raises(FileError, match=r"Expected (three axes of space|3 and 1)"):
        as_volume(image())


def test_what_is_no_image_is_left_to_others(model):
    assert as_volume(torch.rand(3, 3, 3)) is None and as_volume(object()) is None and as_volume("a") is None
    for thing, name in ((torch.rand(3, 3, 3), "Tensor"), (np.zeros((3, 3, 3)), "ndarray"), (7, "int")):
        with pytest.raises(FileError, match=f"a {name} is no scan.*Volume\\(array, affine\\) makes one"):
            model.open(thing)


def a_mask(affine: np.ndarray) -> Volume:
    mask = torch.zeros(SHAPE, dtype=torch.uint8)
    mask[1:3, 2:5, 4] = 2
    return Volume(mask, affine)


def test_masks_go_back_on_the_grid_that_they_came_from():
    for affine in oriented():
        mask = a_mask(affine)
        for there, back in ((to_torchio, torchio.LabelMap), (to_monai, monai_data.MetaTensor)):
            image = there(mask.array, mask.grid)
            assert isinstance(image, back)
            found = as_volume(image)
            assert torch.equal(found.array, mask.array) and found.array.dtype == torch.uint8
            assert found.grid.same_as(mask.grid)


def test_a_torchio_mask_lies_where_the_transforms_of_torchio_expect_it():
    """Resampled by torchio onto another grid, the mask's middle stays at its place in the world."""
    mask = a_mask(oblique())
    turned = torchio.ToCanonical()(to_torchio((mask.array > 0).to(torch.uint8), mask.grid))

    def middle(volume):
        return volume.grid.world_of(volume.array.nonzero().double().mean(dim=0).numpy())

    np.testing.assert_allclose(middle(as_volume(turned)), middle(mask), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_session_on_anothers_image_answers_as_on_the_volume(kind, model, generator):
    scan = ball(generator)[0]
    click = sam_moe.Point((24, 24, 24))
    expected = model.open(scan).predict(click)
    found = model.open(kind(scan.array.numpy(), scan.grid.affine)).predict(click)
    assert torch.equal(found.mask, expected.mask)
    label = found.to_torchio()
    assert torch.equal(label.data[0], found.mask) and np.allclose(label.affine, scan.grid.affine)
    tensor = found.to_monai()
    assert torch.equal(tensor[0].as_tensor(), found.mask) and np.allclose(tensor.affine, scan.grid.affine)


def test_a_label_map_is_given_back_with_its_values():
    mask = a_mask(oblique())
    prediction = Prediction(mask, mask.grid, Prompt(), mask.grid, "m", False)
    found = LabelMap(mask.array, mask.grid, {2: "liver"}, {"liver": prediction})
    assert torch.equal(found.to_torchio().data[0], mask.array)
    assert torch.equal(found.to_monai()[0].as_tensor(), mask.array)


@pytest.mark.slow
def test_no_other_library_is_imported_before_it_is_needed():
    code = "import sys, sam_moe.space.foreign; print({'torchio', 'monai'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
