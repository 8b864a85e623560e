"""Prepared cases as files: what is written is what is read, mapped and not copied; damage is noticed."""

import json
import pickle

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.training.slices.cache import SliceCache, cache_folder, is_cache, origin_of, write_cache
from sam_moe.training.slices.cases import list_cases, read_case


@pytest.fixture
def prepared(data, both):
    """The cases of the train part, read."""
    return [(case, read_case(case, both[case.set])) for case in list_cases(data(), both)["train"]]


@pytest.fixture
def written(prepared, both, tmp_path):
    write_cache(iter(prepared), tmp_path / "kept", "here")
    return SliceCache(tmp_path / "kept", both)


def test_what_is_written_is_read_again(written, prepared):
    assert [case.id for case in written.cases] == ["a", "b", "pa", "pb"]
    for number, (_, read) in enumerate(prepared):
        image, labels = written.voxels(number)
        assert (image.dtype, labels.dtype) == (torch.float16, torch.uint8)
        assert torch.equal(image, read.stack.array.half())
        assert torch.equal(labels, read.labels)


def test_each_slice_lies_in_one_piece_of_its_file(written):
    image, labels = written.voxels(0)
    assert image[:, :, 3].is_contiguous() and labels[:, :, 3].is_contiguous()


def test_a_case_is_described_by_what_it_shows(written):
    first, without_deep = written.cases[:2]
    assert first.shown == ((2, 3, 4), (2, 3, 4), (5, 6))
    assert without_deep.shown == ((2, 3, 4), (2, 3, 4), ())
    assert (first.set, first.contoured) == (0, (True,) * 4)
    image = written.voxels(0)[0].float()
    assert (first.least, first.most) == (float(image.min()), float(image.max()))
    assert first.spread == pytest.approx(float(image.std(correction=0)))


def test_a_scan_without_contrast_has_the_spread_1(prepared, both, tmp_path):
    case, read = prepared[0]
    read.stack.array.fill_(0.5)
    write_cache([(case, read)], tmp_path / "kept", "")
    assert SliceCache(tmp_path / "kept", both).cases[0].spread == 1


def test_whole_cases_have_their_grid_their_labels_and_what_is_contoured(written, prepared):
    wholes = list(written.wholes())
    assert [(whole.set, whole.id) for whole in wholes] == [(case.set, case.id) for case, _ in prepared]
    for whole, (_, read) in zip(wholes, prepared, strict=True):
        assert whole.stack.grid.same_as(read.stack.grid, tolerance_voxels=1e-9)
        assert whole.stack.array.dtype == torch.float32
        torch.testing.assert_close(whole.stack.array, read.stack.array, atol=0, rtol=2**-10)
        assert torch.equal(whole.labels, read.labels) and whole.contoured == read.contoured


def test_a_cache_is_handed_to_workers_without_its_voxels(written):
    before = written.voxels(0)
    sent = pickle.dumps(written)
    assert len(sent) < 10_000 < before[0].nbytes
    assert torch.equal(pickle.loads(sent).voxels(0)[0], before[0])


def test_voxels_are_read_once(written):
    assert written.voxels(1)[0].data_ptr() == written.voxels(1)[0].data_ptr()


def test_the_same_cases_give_the_same_bytes(written, prepared, tmp_path):
    write_cache(prepared, tmp_path / "again", "here")
    for path in (tmp_path / "kept").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_shorter_list_leaves_no_files_of_a_longer_one(written, prepared, both):
    write_cache(prepared[:2], written.folder, "less")
    assert sorted(path.name for path in written.folder.iterdir()) == [
        "00000.safetensors",
        "00001.safetensors",
        "cases.json",
    ]
    assert len(SliceCache(written.folder, both).cases) == 2


def test_what_is_half_written_is_no_cache(written, prepared, both):
    def broken():
        yield prepared[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(broken(), written.folder, "new")
    assert not is_cache(written.folder) and origin_of(written.folder) == ""
    with pytest.raises(ConfigError, match="not readable as a table of prepared slices"):
        SliceCache(written.folder, both)


def test_no_cases_are_a_cache_too(both, tmp_path):
    write_cache([], tmp_path / "kept", "none")
    cache = SliceCache(tmp_path / "kept", both)
    assert cache.cases == () and list(cache.wholes()) == []


def test_the_origin_is_kept_by_this_format_alone(written, both):
    assert (origin_of(written.folder), written.origin) == ("here", "here")
    index = written.folder / "cases.json"
    table = json.loads(index.read_text())
    index.write_text(json.dumps({**table, "format": 99}))
    assert origin_of(written.folder) == ""
    with pytest.raises(ConfigError, match="no prepared slices of format 1. Start where the data is"):
        SliceCache(written.folder, both)


@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_a_damaged_file_is_named_with_what_to_do(written, damage):
    path = written.folder / "00001.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:200] if damage == "cut" else b"")
    assert written.voxels(0)[0].shape
    with pytest.raises(ConfigError, match=r"00001\.safetensors: not readable as prepared slices .*Delete"):
        written.voxels(1)


def test_parts_lie_beside_each_other_in_a_run(tmp_path):
    assert cache_folder(tmp_path, "train").parent == cache_folder(tmp_path, "validation").parent
    assert not is_cache(cache_folder(tmp_path, "train"))
