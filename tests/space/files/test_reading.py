import os
import socket
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_moe.errors import FileError, SamMoeError
from sam_moe.space.files import fingerprint, read, read_header
from sam_moe.space.files.header import available_memory_bytes
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.nii.gz", b"", "empty"),
        ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "git lfs pull"),
        ("a.txt", b"hello", "unknown kind"),
        ("a.mhd", b"ObjectType = Image\n", "two files"),
        ("a.nhdr", b"NRRD0004\n", "two files"),
        ("a.hdr", b"\x5c\x01", "two files"),
        ("a.nii", b"no nifti at all", "no NIfTI header"),
        ("a.nii.gz", b"\x1f\x8bnonsense", "damaged"),
        ("a.mha", b"no metaimage at all", "no MetaImage header"),
        ("a.nrrd", b"no nrrd at all", "no NRRD header"),
        ("a.dcm", b"no dicom at all", "not a DICOM image"),
    ],
)
def test_what_is_no_scan_is_refused_in_one_line(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    for door in (read, read_header):
        with pytest.raises(FileError, match=says) as error:
            door(path)
        assert str(error.value).startswith(str(path))
        assert "Expected" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read(tmp_path / "none.nii")
    with pytest.raises(FileError, match="cannot be read"):
        read(f"{tmp_path}/a\0b.nii")


def test_an_empty_folder_holds_no_dicom(tmp_path):
    with pytest.raises(FileError, match="no DICOM images in this folder"):
        read(tmp_path)


def test_a_file_without_permission_is_named(nifti):
    path = nifti()
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(FileError, match="no permission"):
        read(path)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.dcm", "a"])
def test_a_pipe_is_refused_at_once(tmp_path, name, link):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    path.symlink_to("pipe") if link else (tmp_path / "pipe").rename(path)
    for door in (read, read_header):
        with pytest.raises(FileError, match=r"is a pipe\. Expected an ordinary file"):
            door(path)


def test_a_device_without_end_and_a_socket_are_refused_at_once(tmp_path):
    (tmp_path / "a.nii").symlink_to("/dev/zero")
    with pytest.raises(FileError, match="is a device"):
        read(tmp_path / "a.nii")
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(tmp_path / "b.nii"))
        with pytest.raises(FileError, match="is a socket"):
            read(tmp_path / "b.nii")


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "a.nii").symlink_to("a.nii")
    with pytest.raises(FileError, match="leads back to itself"):
        read(tmp_path / "a.nii")


def test_a_limit_one_byte_short_refuses_and_an_exact_one_reads(nifti):
    path = nifti()
    read(path, memory_limit_bytes=420)
    with pytest.raises(FileError, match=r"would take 420 bytes, more than the limit of 419 bytes"):
        read(path, memory_limit_bytes=419)


def test_the_available_memory_is_less_than_the_machine_has():
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems report only what they have")
    assert 0 < available_memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


GRID = Grid(np.diag([1.0, 2, 3, 1]), (3, 4, 40))


def test_a_fingerprint_follows_content_and_not_layout(generator):
    array = torch.randint(0, 99, GRID.shape, generator=generator).short()
    first = fingerprint(Volume(array, GRID))
    assert len(first) == 64
    fortran = array.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert fortran.stride() != array.stride()
    assert fingerprint(Volume(fortran, GRID)) == first
    changed = array.clone()
    changed[2, 3, 39] += 1
    moved = Grid(np.diag([1.0, 2, 3.001, 1]), GRID.shape)
    others = [Volume(changed, GRID), Volume(array, moved), Volume(array.int(), GRID)]
    assert len({first, *map(fingerprint, others)}) == 4


def test_a_fingerprint_is_known_for_every_type():
    kinds = (torch.bool, torch.uint8, torch.bfloat16, torch.float64)
    assert len({fingerprint(Volume(torch.zeros(GRID.shape, dtype=kind), GRID)) for kind in kinds}) == 4


ANY = """
import sys, warnings
from pathlib import Path
from sam_moe.errors import SamMoeError
from sam_moe.space.files import read
from sam_moe.space.volume import Volume
for name in sys.stdin.read().split("\\n"):
    try:
        assert isinstance(read(name, memory_limit_bytes=2**30), Volume)
        print("volume", name)
    except SamMoeError as error:
        assert "\\n" not in str(error), error
        print("refused", error)
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["pydicom", "nibabel", "SimpleITK"])
def test_files_that_others_test_with_are_read_or_refused(package):
    found = pytest.importorskip(package)
    root = Path(found.__file__).parent
    names = [str(p) for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".so")]
    folders = sorted({str(Path(name).parent) for name in names})
    done = subprocess.run(  # a crash in a library's C++ would end this process
        [sys.executable, "-c", ANY],
        input="\n".join(names + folders),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    assert done.stdout.endswith("done\n")
    assert done.stdout.count("\n") > len(names)


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
