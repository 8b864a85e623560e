"""A finished case whose files changed is asked about again, and no other."""

import os
from pathlib import Path

import pytest

from sam_moe.evaluation.casefile import CaseFile, case_path, write_whole
from sam_moe.evaluation.challenge import Case
from sam_moe.evaluation.changed import forget_changed, made_of
from sam_moe.evaluation.predictions import Given


@pytest.fixture
def case(tmp_path):
    for name in ("scan", "truth", "mask"):
        (tmp_path / f"{name}.nii.gz").write_bytes(name.encode())
    return Case("a", "p", {"T1": tmp_path / "scan.nii.gz"}, "T1", tmp_path / "truth.nii.gz", {}, {"x": (1,)})


def given(path: Path) -> Given:
    return Given(path.parent, {"a": path}, ())


@pytest.mark.parametrize("name", ["scan.nii.gz", "truth.nii.gz", "mask.nii.gz", "mask.labels.json"])
def test_every_file_counts_by_size_and_by_time(case, tmp_path, name):
    masks = given(tmp_path / "mask.nii.gz")
    before = made_of(case, masks)
    assert made_of(case, masks) == before
    (tmp_path / name).write_bytes(b"something longer")
    longer = made_of(case, masks)
    os.utime(tmp_path / name, ns=(1, 1))
    assert len({before, longer, made_of(case, masks)}) == 3
    assert made_of(case, masks) != made_of(case, masks, resample=True)


def test_a_folder_of_masks_counts_by_its_files(case, tmp_path):
    (tmp_path / "a").mkdir()
    before = made_of(case, given(tmp_path / "a"))
    (tmp_path / "a" / "x.nii.gz").write_bytes(b"x")
    assert made_of(case, given(tmp_path / "a")) != before


def test_only_what_changed_is_forgotten(tmp_path):
    (tmp_path / "cases").mkdir()
    for case in ("a", "b"):
        write_whole(
            CaseFile(case=case, rows=(), seconds=1, made_of=f"made of {case}"), case_path(tmp_path, case)
        )
    assert forget_changed(tmp_path, {"a": "made of a", "b": "another", "c": "not finished"}) == ["b"]
    assert case_path(tmp_path, "a").is_file() and not case_path(tmp_path, "b").is_file()
