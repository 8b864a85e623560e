"""Scans are read once, and again where others are asked for."""

import shutil

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.registry import Preprocessing
from sam_moe.training.recipes.scans import check_scans, keep_scans, learnt_ranges
from sam_moe.training.recipes.settings import LabelledScans
from sam_moe.training.scans.cache import cached_sets, read_cache


@pytest.fixture
def data(folder, splits):
    return LabelledScans(folder=folder, splits=splits)


def test_scans_are_read_again_only_where_others_are_asked_for(data, tmp_path):
    first = keep_scans(data, "train", tmp_path, learn={"sphere": ["ball"]})
    path = tmp_path / "train.safetensors"
    before = path.stat().st_mtime_ns
    assert keep_scans(data, "train", tmp_path, learn={"sphere": ["ball"]}) == first
    assert path.stat().st_mtime_ns == before and cached_sets(path) == ("balls",)
    assert keep_scans(data, "train", tmp_path, learn={"sphere": ["box"]}) != first
    assert read_cache(path)[0].structures == {2: "sphere"}
    assert keep_scans(data, "train", tmp_path) != first and cached_sets(path) == ("balls", "maps")


def test_scans_whose_files_changed_are_read_again(data, tmp_path):
    first = keep_scans(data, "train", tmp_path)
    shutil.copy(data.folder / "balls" / "b.nii.gz", data.folder / "balls" / "a.nii.gz")
    again = keep_scans(data, "train", tmp_path)
    assert again != first
    a, b, _ = read_cache(tmp_path / "train.safetensors")
    assert torch.equal(a.levels[0], b.levels[0])


def test_without_the_data_a_cache_of_the_same_structures_serves_and_no_other(data, tmp_path):
    origin = keep_scans(data, "train", tmp_path, learn={"sphere": ["ball"]})
    shutil.rmtree(data.folder)
    data.splits.unlink()
    assert keep_scans(data, "train", tmp_path, learn={"sphere": ["ball"]}) == origin
    for other in ({"learn": {"sphere": ["box"]}}, {}, {"leave_out": ["box"], "learn": {"sphere": ["ball"]}}):
        with pytest.raises(ConfigError, match=r"train\.safetensors was read with other structures"):
            keep_scans(data, "train", tmp_path, **other)


def test_scans_are_looked_for_before_anything_is_written(data, change, tmp_path):
    check_scans(data, ("train", "validation"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"expected an entry 'holdout'"):
        check_scans(data, ("train", "holdout"), tmp_path / "run")
    change(data.splits, lambda s: s["sets"]["balls"].update(train=["z"]))
    with pytest.raises(ConfigError, match="names the case z of the set balls"):
        check_scans(data, ("train",), tmp_path / "run")


def test_a_cache_that_was_taken_along_is_enough(data, tmp_path):
    keep_scans(data, "train", tmp_path)
    shutil.rmtree(data.folder)
    data.splits.unlink()
    check_scans(data, ("train",), tmp_path)
    with pytest.raises(ConfigError, match=r"splits\.json"):
        check_scans(data, ("train", "validation"), tmp_path)


def test_regions_follow_the_preprocessing_of_the_card():
    found = learnt_ranges(Preprocessing(region_voxels=16, spacing_mm=1.5, normalisation="mean", zoom_max=2.0))
    assert found.limits_mm[1] == 3.0
