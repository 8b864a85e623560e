"""What all recipes share: scans are read once, and a run says how it was made."""

import logging
import shutil

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import PretrainRecipe
from sam_moe.training.recipes.parts import LabelledScans, keep_scans, told, write_recipe
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


def test_a_run_tells_its_command_so_that_it_can_be_typed(tmp_path, data):
    keep_scans(data, "train", tmp_path)
    made = told("finetune", tmp_path / "a b.yaml", ["x.y=[1, 2]"], tmp_path, 7, 2, 1)
    assert made.command == f"sam-moe finetune '{tmp_path / 'a b.yaml'}' --set 'x.y=[1, 2]'"
    assert (made.seeds, made.hours, made.data) == ((7,), 0, ("balls", "maps"))


def test_a_run_begun_by_another_recipe_says_what_changed(recipe, tmp_path, caplog):
    from sam_moe.config import load_settings

    first = load_settings(PretrainRecipe, recipe())
    with caplog.at_level(logging.WARNING):
        write_recipe(first, tmp_path)
        write_recipe(first, tmp_path)
        assert caplog.text == ""
        write_recipe(first.model_copy(update={"seed": 9}), tmp_path)
    assert "changes to: seed" in caplog.text
