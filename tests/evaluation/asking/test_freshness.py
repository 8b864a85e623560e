"""A finished case whose files changed is asked about again, and no other."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sam_moe.evaluation.asking.casefile import CaseFile, case_path, write_whole
from sam_moe.evaluation.asking.freshness import changed, made_of
from sam_moe.evaluation.asking.predictions import GivenMasks
from sam_moe.evaluation.challenge.challenge import Case


@pytest.fixture
def case(tmp_path):
    for name in ("scan", "truth", "mask"):
        (tmp_path / f"{name}.nii.gz").write_bytes(name.encode())
    return Case("a", "p", {"T1": tmp_path / "scan.nii.gz"}, "T1", tmp_path / "truth.nii.gz", {}, {"x": (1,)})


def given(path: Path) -> GivenMasks:
    return GivenMasks(path.parent, {"a": path}, ())


@pytest.mark.parametrize("name", ["scan.nii.gz", "truth.nii.gz", "mask.nii.gz", "mask.labels.json"])
def test_every_file_counts_by_its_content_whatever_its_size_and_time(case, tmp_path, name):
    """Corrected labels in a file without compression have the old size; `cp -p` and archives keep times."""
    masks, path = given(tmp_path / "mask.nii.gz"), tmp_path / name
    path.write_bytes(b"one content")
    os.utime(path, ns=(1, 1))
    before = made_of(case, masks)
    os.utime(path, ns=(2, 2))
    assert made_of(case, masks) == before
    path.write_bytes(b"two content")
    os.utime(path, ns=(1, 1))
    assert made_of(case, masks) != before
    assert made_of(case, masks) != made_of(case, masks, resample=True)
    path.unlink()
    assert made_of(case, masks) != before


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"x": (2,)}},
        {"patient": "q"},
        {"strata": {"modality": "MR"}},
        {"least_voxels": 5},
        {"ignored": (3,)},
    ],
)
def test_what_a_sets_own_table_says_counts_too(case, change):
    assert made_of(replace(case, **change)) != made_of(case)


def test_a_channel_counts_by_its_whole_file(case, tmp_path):
    channel = replace(case, images={"T1": tmp_path / "scan.nii.gz#1"})
    before = made_of(channel)
    (tmp_path / "scan.nii.gz").write_bytes(b"another")
    assert made_of(channel) != before


def test_a_folder_of_masks_counts_by_its_files(case, tmp_path):
    (tmp_path / "a").mkdir()
    before = made_of(case, given(tmp_path / "a"))
    (tmp_path / "a" / "x.nii.gz").write_bytes(b"x")
    assert made_of(case, given(tmp_path / "a")) != before


def test_what_changed_and_what_is_spoilt_are_found(tmp_path):
    (tmp_path / "cases").mkdir()
    for case in ("a", "b", "spoilt"):
        record = CaseFile(case=case, rows=(), seconds=1, made_of=f"made of {case}")
        write_whole(record, case_path(tmp_path, case))
    case_path(tmp_path, "spoilt").write_text("{")
    made = {"a": "made of a", "b": "another", "c": "not finished", "spoilt": "made of spoilt"}
    assert changed(tmp_path, made) == ["b", "spoilt"]
