"""Archives from strangers are read to the number, or refused with one error of ours."""

import io
import zipfile
from time import perf_counter

import numpy as np
import pytest
import torch

from sam_moe.cases.archives import read_array
from sam_moe.cases.reading import read_image, read_labels
from sam_moe.errors import FileError, SamMoeError
from tests.evaluation.drawn import image, label_map

IMAGES, LABELS = image().numpy().transpose(2, 1, 0), label_map().numpy().transpose(2, 1, 0)
FLIPPED = 300


def archive(path, **arrays):
    np.savez_compressed(path, **({"imgs": IMAGES, "gts": LABELS, "spacing": (2.0, 2.0, 3.0)} | arrays))
    return path


def by_hand(path, header, payload=b"", method=zipfile.ZIP_DEFLATED):
    """An archive whose array `imgs` has this text for a header."""
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    magic = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("imgs.npy", magic + text + payload)
    return path


@pytest.mark.parametrize("kind", [">i2", "<i4", ">f4", ">f8", "u1", ">u2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_order_of_bytes_and_axes_gives_the_same_numbers(tmp_path, kind, order):
    wanted = (IMAGES % 2).astype(kind)
    np.savez(tmp_path / "a.npz", imgs=np.asarray(wanted, order=order), spacing=np.array([1, 2, 3], ">f8"))
    found, spacing = read_array(tmp_path / "a.npz", "imgs")
    assert found.dtype.isnative and np.array_equal(found, wanted) and spacing.tolist() == [1, 2, 3]
    assert np.array_equal(read_image(tmp_path / "a.npz").array.numpy(), wanted.transpose(2, 1, 0))


def test_an_archive_without_spacing_says_so(tmp_path):
    np.savez(tmp_path / "a.npz", gts=LABELS)
    assert read_array(tmp_path / "a.npz", "gts")[1] is None


@pytest.mark.parametrize("shape", [(600_000, 600_000, 3), (2**40, 2**40, 2**40), (3000, 3000, 60_000)])
def test_540_gb_claimed_are_refused_before_memory_is_taken(tmp_path, shape):
    path = by_hand(tmp_path / "a.npz", f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")
    start = perf_counter()
    with pytest.raises(FileError, match="imgs claims .* bytes, and the archive has"):
        read_image(path)
    assert perf_counter() - start < 1


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i2', 'fortran_order': False, 'shape': (-1, 2, 2)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 2)",
        "{'descr': '<i2', 'fortran_order': False, 'shape': '(2, 2, 2)'}",
        "{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (2, 2, 2)}",
        "{'descr': '<U9', 'fortran_order': False, 'shape': (2, 2, 2)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2, 2)}",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2, 2)}",
        "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1, 1, 2)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 2L, 2L)}x",
        "__import__('os').system('true')",
        "(" * 3000,
        "'" * 9,
        "\t\t\0",
    ],
)
def test_a_header_that_is_none_is_an_error_of_ours(tmp_path, header):
    with pytest.raises(SamMoeError, match=r"a\.npz: "):
        read_image(by_hand(tmp_path / "a.npz", header, bytes(64)))


def renamed(path):
    np.save(path.with_suffix(".npy"), IMAGES)
    path.with_suffix(".npy").rename(path)


def junk(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("imgs.npy", "these are no numbers")


def other_method(path):
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("imgs.npy", buffer.getvalue())


def with_more(path):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(2, 2, 2)}}}"
    by_hand(path, header, bytes(9))


def a_pickle(path):
    path.write_bytes(b"\x80\x04K\x01.")


@pytest.mark.parametrize("made", [renamed, junk, other_method, with_more, a_pickle])
def test_what_only_looks_like_an_archive_is_an_error_of_ours(tmp_path, made):
    made(tmp_path / "a.npz")
    with pytest.raises(FileError, match=r"a\.npz: "):
        read_image(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "spacing",
    ["near", [b"1", b"2", b"3"], np.array([1, 2, 3], object), [1j, 1, 1], [[1], [2]], [np.nan, 1, 1]],
)
def test_a_spacing_that_is_no_three_numbers_is_an_error_of_ours(tmp_path, spacing):
    with pytest.raises(FileError, match=r"a\.npz: "):
        read_image(archive(tmp_path / "a.npz", spacing=spacing))


@pytest.mark.slow
def test_flipped_and_cut_bytes_give_numbers_or_an_error_of_ours(tmp_path):
    """Hundreds of damaged archives, deflated and stored: none raises anything else."""
    rng = np.random.default_rng(15)
    plain = tmp_path / "stored.npz"
    np.savez(plain, imgs=IMAGES[:2, :3, :4], gts=LABELS[:2, :3, :4], spacing=(2.0, 2.0, 3.0))
    sound = [archive(tmp_path / "deflated.npz").read_bytes(), plain.read_bytes()]
    refused = 0
    for number in range(FLIPPED):
        content = bytearray(sound[number % 2])
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(len(content))] = rng.integers(256)
        if number % 5 == 0:
            content = content[: rng.integers(len(content))]
        path = tmp_path / "a.npz"
        path.write_bytes(content)
        try:
            scan, truth = read_image(path), read_labels(path)
        except SamMoeError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
        else:
            assert isinstance(scan.array, torch.Tensor) and not truth.array.is_floating_point()
    assert refused > FLIPPED // 3
