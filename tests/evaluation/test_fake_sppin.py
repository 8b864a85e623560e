import pytest
import torch

from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge, read_case
from sam_moe.space.files import read
from sam_moe.space.volume import resample
from tests.evaluation.fake_sppin import make_fake_sppin


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return make_fake_sppin(tmp_path_factory.mktemp("sppin"), patients=2)


@pytest.fixture(scope="module")
def cases(fake):
    return cases_of(load_challenge(fake))


def test_it_is_a_small_challenge_of_mha_files(fake):
    files = sorted(path for path in fake.parent.rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) < 2_000_000
    names = {"T1.mha", "T2.mha", "DWI_b0.mha", "DWI_b100.mha", "segmentation.mha"}
    assert {path.name for path in files if path.suffix == ".mha"} == names
    assert len(files) == 2 * 2 * 5 + 1


def test_each_patient_has_two_time_points_with_a_smaller_tumour_later(cases):
    assert [(case.id, case.patient) for case in cases] == [
        ("PT_01_1", "PT_01"),
        ("PT_01_2", "PT_01"),
        ("PT_02_1", "PT_02"),
        ("PT_02_2", "PT_02"),
    ]
    voxels = [int(read_case(case)[1]["neuroblastoma"].array.sum()) for case in cases]
    assert voxels[0] > 2 * voxels[1] > 0 and voxels[2] > 2 * voxels[3] > 0


def test_each_series_has_a_grid_of_its_own(cases):
    grids = [read(path).grid for path in cases[0].images.values()]
    assert len(grids) == 4
    assert not any(one.same_as(other) for n, one in enumerate(grids) for other in grids[:n])


def test_the_tumour_is_seen_in_every_series_at_nearly_its_place_on_t1(cases):
    scan, masks = read_case(cases[0])
    tumour = masks["neuroblastoma"].array
    for name, path in cases[0].images.items():
        values = resample(read(path), scan.grid).array.float()
        inside, outside = values[tumour].mean(), values[~tumour].mean()
        assert inside > 1.3 * outside, name


def test_nothing_is_registered(cases):
    # brought onto one grid, the two diffusion series of one grid still differ by the patient's motion
    b0, b100 = (read(cases[0].images[name]) for name in ("b0", "b100"))
    apart = abs(b0.grid.affine[:3, 3] - b100.grid.affine[:3, 3]).max()
    assert 0 < apart <= 4
    assert not torch.equal(resample(b100, b0.grid).array, b100.array.float())


def test_half_of_the_t1_are_with_contrast(cases):
    def contrast(case):
        scan, masks = read_case(case)
        tumour = masks["neuroblastoma"].array
        return float(scan.array[tumour].float().mean()) > 150

    assert [contrast(case) for case in cases] == [True, False, False, True]


def test_the_same_seed_gives_the_same_voxels(fake, tmp_path):
    again, other = make_fake_sppin(tmp_path / "again", 1), make_fake_sppin(tmp_path / "other", 1, seed=1)
    where = "PT_01/2/DWI_b100.mha"
    assert torch.equal(read(fake.parent / where).array, read(again.parent / where).array)
    assert not torch.equal(read(fake.parent / where).array, read(other.parent / where).array)
