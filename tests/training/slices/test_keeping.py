"""Cases are prepared once, and again exactly where what they are prepared from has changed."""

import json
import os
import shutil

import pytest
import torch

from sam_moe.errors import ConfigError, FileError
from sam_moe.registry.automatic import Label, Window
from sam_moe.training.slices.keeping import check_slices, keep_slices


@pytest.fixture
def keep(data, both, tmp_path):
    """Keeps the train part; gives the cache and whether any scan was read."""

    def ask(settings=None, sets=both, part="train"):
        stages = []
        run = tmp_path / "run"
        cache = keep_slices(settings or data(), sets, part, run, lambda *stage: stages.append(stage))
        return cache, bool(stages)

    return ask


def test_scans_are_read_once_with_progress_to_the_end(data, both, tmp_path):
    stages = []
    for _ in range(2):
        keep_slices(data(), both, "train", tmp_path / "run", lambda *stage: stages.append(stage))
    assert stages == [("reading scans", n / 4) for n in range(5)]


def test_both_parts_are_kept_beside_each_other(keep):
    assert [case.id for case in keep(part="validation")[0].cases] == ["c"]
    assert len(keep()[0].cases) == 4
    assert not keep(part="validation")[1]


def test_a_part_without_cases_is_kept_empty(keep, data, source):
    cache, _ = keep(data(bodies_ct={"train": [source(part="train")]}), part="validation")
    assert cache.cases == ()


@pytest.mark.parametrize("file", ["bodies/images/a.nii.gz", "plain/labels/pb.nii.gz"])
def test_a_changed_file_is_read_anew_and_a_touched_one_is_not(keep, folder, drawn, file):
    before = keep()[0].origin
    os.utime(folder / file, ns=(0, 0))
    assert keep()[1] is False
    root, name = (folder / file).parents[1], (folder / file).name.removesuffix(".nii.gz")
    drawn.write_case(root, name, drawn.body(without=("left",)), 50)
    cache, read = keep()
    assert read and cache.origin != before
    number = [case.id for case in cache.cases].index(name)
    assert not any(cache.voxels(number)[1].unique() == (2 if name == "pb" else 1))


def test_a_file_that_is_not_chosen_may_change(keep, folder):
    keep()
    (folder / "bodies" / "images" / "d.nii.gz").write_bytes(b"test")
    assert keep()[1] is False


def test_other_cases_in_the_splits_are_read(keep, tmp_path):
    keep()
    splits = {"bodies": {"train": ["a"], "validation": ["c", "b"], "test": ["d"]}}
    (tmp_path / "splits.json").write_text(json.dumps({"sets": splits}))
    cache, read = keep()
    assert read and [case.id for case in cache.cases if case.set == 0] == ["a"]
    assert len(list(cache.folder.glob("*.safetensors"))) == 3


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"spacing_mm": (2.0, 2.0, 6.0)}, True),
        ({"intensity": Window(low=0, high=900)}, True),
        ({"labels": (Label(name="right"), Label(name="left"), Label(name="deep"))}, True),
        ({"title": "Another title", "expert": "other", "far": 3.0}, False),
        ({"labels": tuple(Label(name=n, parts="largest") for n in ("left", "right", "deep"))}, False),
    ],
)
def test_scans_are_read_anew_for_what_their_voxels_depend_on(keep, both, changes, anew):
    keep()
    changed = (both[0].model_copy(update=changes), both[1])
    assert keep(sets=changed)[1] is anew


def test_another_meaning_of_missing_labels_is_read_anew(keep, data, source):
    first = keep()[0].cases[1]
    assert first.id == "b" and first.contoured[3]
    sources = {
        "train": [source(part="train", missing="uncontoured")],
        "validation": [source(part="validation")],
    }
    cache, read = keep(data(bodies_ct=sources))
    assert read and cache.cases[1].contoured == (True, True, True, False)


def test_another_name_for_a_label_is_read_anew(keep, data, source):
    keep()
    swapped = {"train": [source("plain", labels={"dextra": [7], "sinistra": [2]})]}
    cache, read = keep(data(plain_mr=swapped))
    assert read and int((cache.voxels(2)[1] == 1).sum()) < int((cache.voxels(2)[1] == 2).sum())


def test_what_was_interrupted_is_read_from_the_start(keep, data, both, tmp_path):
    def stop(_, share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_slices(data(), both, "train", tmp_path / "run", stop)
    cache, read = keep()
    assert read and len(cache.cases) == 4


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 1, "origin": "by hand"}'])
def test_a_table_that_is_not_understood_is_written_anew(keep, content):
    cache, _ = keep()
    (cache.folder / "cases.json").write_text(content)
    assert keep()[1] is True


def test_where_the_data_lies_is_no_change(keep, data, folder):
    keep()
    moved = folder.parent / "elsewhere"
    shutil.copytree(folder, moved)
    assert keep(data().model_copy(update={"folder": moved}))[1] is False


def test_a_cache_taken_along_serves_where_there_is_no_data(keep, data, folder, both):
    before, _ = keep()
    settings = data()
    shutil.rmtree(folder)
    cache, read = keep(settings)
    assert not read and torch.equal(cache.voxels(3)[0], before.voxels(3)[0])
    other = (both[0].model_copy(update={"spacing_mm": (9.0, 9.0, 9.0)}), both[1])
    with pytest.raises(
        ConfigError, match="prepared with other settings of the data sets, and there is no .*data"
    ):
        keep(settings, other)
    with pytest.raises(ConfigError, match="no folder"):
        keep(settings, part="validation")


def test_a_check_finds_what_does_not_fit_and_writes_nothing(data, both, source, tmp_path):
    run = tmp_path / "run"
    check_slices(data(), both, run)
    with pytest.raises(ConfigError, match="no folder .*nowhere"):
        check_slices(data(bodies_ct={"train": [source("nowhere")]}), both, run)
    assert not run.exists()


def test_a_check_asks_for_no_data_where_all_parts_were_taken_along(keep, data, both, folder, tmp_path):
    keep()
    keep(part="validation")
    settings = data()
    shutil.rmtree(folder)
    check_slices(settings, both, tmp_path / "run")
    with pytest.raises(ConfigError, match="no folder"):
        check_slices(settings, both, tmp_path / "other")


def test_a_scan_that_cannot_be_read_is_named_and_leaves_no_cache(keep, folder):
    path = folder / "bodies" / "images" / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileError, match=r"b\.nii\.gz"):
        keep()
    with pytest.raises(FileError, match=r"b\.nii\.gz"):
        keep()
