"""Synthetic scans with two prompts each, from file to mask."""

import pytest
import torch

from benchmarks.speed import many_scans
from sam_moe.prompts import Box, Point, promptset
from sam_moe.space.files import read

SHAPE = (48, 40, 30)


@pytest.fixture
def prompts(tmp_path):
    return many_scans.make(tmp_path, 2, SHAPE)


def test_each_scan_has_a_bright_cube_where_its_prompts_are(prompts):
    found = promptset.read(prompts)
    assert [case.image for case in found.cases] == ["0.nii.gz", "1.nii.gz"]
    scan = read(prompts.parent / "1.nii.gz")
    assert scan.array.dtype == torch.int16 and scan.grid.shape == SHAPE
    assert scan.grid.spacing_mm == (1, 1, 2)
    inside = scan.array[8:40, 4:36, 7:23].float()
    assert 590 < float(inside.mean()) < 610 and abs(float(scan.array[:4].float().mean())) < 20
    (click,), (box,) = (list(found.cases[1].replay(name))[-1] for name in ("click", "box"))
    assert click == Point((24.0, 20.0, 15.0)) and box == Box((7.0, 3.0, 6.0), (41.0, 37.0, 24.0))


@pytest.mark.slow
def test_one_by_one_writes_a_mask_for_each_scan(prompts, tmp_path):
    seconds = many_scans.one_by_one(prompts.parent, prompts, tmp_path / "masks", "tiny")
    masks = sorted(path.name for path in (tmp_path / "masks").glob("*.nii.gz"))
    assert masks == ["0.nii.gz", "1.nii.gz"] and seconds > 0
    assert set(read(tmp_path / "masks" / "0.nii.gz").array.unique().tolist()) <= {0, 1, 2}
