"""Bytes of voxels: all of them and no other, from whatever stream."""

import gzip
import tempfile
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import FileError
from sam_moe.space.files.header import Header
from sam_moe.space.files.payload import collect, inflate, plain

PATH = Path("scan.nii.gz")
HEADER = Header(PATH, "NIfTI", (2, 3, 4), np.dtype("<i2"), np.eye(4))
WHOLE = np.arange(24, dtype="<i2").tobytes()


def opened(data):
    """A file of these bytes, open at its beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # read lazily by the caller
    file.write(data)
    file.seek(0)
    return file


@given(st.binary(max_size=5000), st.sampled_from([gzip.compress, zlib.compress]))
def test_what_was_compressed_comes_out(data, compress):
    assert b"".join(inflate(opened(compress(data)), PATH)) == data
    assert b"".join(plain(opened(data))) == data


def test_several_streams_and_zeros_behind_them_are_one():
    data = gzip.compress(b"one ") + gzip.compress(b"two") + bytes(600)
    assert b"".join(inflate(opened(data), PATH)) == b"one two"


def test_pieces_are_bounded_however_well_the_stream_was_compressed():
    pieces = list(inflate(opened(gzip.compress(bytes(5 * 2**20))), PATH))
    assert sum(map(len, pieces)) == 5 * 2**20 and max(map(len, pieces)) <= 2**20


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-9], "end early"),
        (lambda data: data[:12] + b"\xff\xff\xff" + data[15:], "damaged"),
        (lambda data: data[:-8] + bytes(4) + data[-4:], "damaged"),  # another checksum
        (lambda data: data + b"more", "followed by other bytes"),
    ],
)
def test_a_damaged_stream_is_refused(damage, says):
    data = gzip.compress(np.random.default_rng(0).bytes(400))
    with pytest.raises(FileError, match=says):
        list(inflate(opened(damage(data)), PATH))


@pytest.mark.parametrize("sizes", [(48,), (1, 7, 40), (20, 20, 8)])
def test_voxels_are_gathered_with_i_fastest_whatever_the_pieces(sizes):
    ends = np.cumsum((0, *sizes))
    pieces = (WHOLE[a:b] for a, b in pairwise(ends))
    found = collect(pieces, 0, HEADER)
    assert found.shape == (2, 3, 4) and found[1, 0, 0] == 1 and found[0, 1, 0] == 2 and found[0, 0, 1] == 6


def test_what_stands_before_the_voxels_is_passed_over():
    assert np.array_equal(collect(iter([b"head", WHOLE]), 4, HEADER), collect(iter([WHOLE]), 0, HEADER))


def test_too_few_and_too_many_bytes_are_refused_with_both_counts():
    with pytest.raises(FileError, match=r"truncated, 40 bytes of voxels where .* needs 48 from byte 0 on"):
        collect(iter([WHOLE[:40]]), 0, HEADER)
    with pytest.raises(FileError, match=r"more bytes than the 48 that shape \(2, 3, 4\) of int16 needs"):
        collect(iter([WHOLE, b"x"]), 0, HEADER)
