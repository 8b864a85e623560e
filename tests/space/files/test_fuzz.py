import nibabel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_moe.errors import SamMoeError
from sam_moe.space.files import read
from sam_moe.space.volume import Volume

KINDS = ["scan.nii", "scan.nii.gz", "two.nii", "scan.mha", "scan.nrrd", "z.mha", "z.nrrd"]
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def damage_and_read(nifti, itk, data):
    kind = data.draw(st.sampled_from(KINDS))
    path = nifti(kind) if ".nii" in kind else itk(kind, compress=kind.startswith("z"))
    if kind == "two.nii":  # the same in NIfTI-2
        nibabel.save(nibabel.Nifti2Image.from_image(nibabel.load(path, mmap=False)), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    try:
        volume = read(path, memory_limit_bytes=10_000_000)
    except SamMoeError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2000
    else:
        assert isinstance(volume, Volume)
        assert volume.array.isfinite().all()


@settings(max_examples=80, suppress_health_check=QUIET)
@given(data=st.data())
def test_a_damaged_file_is_a_volume_or_a_refusal_and_nothing_else(nifti, itk, data):
    damage_and_read(nifti, itk, data)


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=QUIET)
@given(data=st.data())
def test_many_damaged_files_are_volumes_or_refusals(nifti, itk, data):
    damage_and_read(nifti, itk, data)
