"""One function lists the cases of a part, for training, evaluation and benchmarks alike."""

import json

import pytest

from sam_moe.cases.splits import cases_of_part, data_folder, read_splits
from sam_moe.errors import ConfigError


@pytest.fixture
def data(tmp_path):
    """Two sets of two cases each; one case has no image."""
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        cases = [
            {"id": f"{name}1", "image": "1.nii", "label": "l1.nii"},
            {"id": f"{name}2", "label": "l2.nii"},
        ]
        (tmp_path / name / "dataset.json").write_text(json.dumps({"cases": cases, "labels": {"cord": 1}}))
    return tmp_path


def splits(folder, sets):
    path = folder / "splits.json"
    path.write_text(json.dumps({"sets": sets}))
    return path


def test_sets_come_by_name_and_cases_in_the_order_of_the_file(data):
    path = splits(data, {"b": {"test": ["b2", "b1"]}, "a": {"test": ["a1"], "train": ["a2"]}})
    found = cases_of_part(data, path, "test")
    assert [(name, case.id) for name, case in found] == [("a", "a1"), ("b", "b2"), ("b", "b1")]
    assert (found[0][1].image, found[1][1].image) == (data / "a" / "1.nii", None)
    assert found[0][1].name_of(1) == "cord"


def test_what_the_data_folder_lacks_is_named(data):
    with pytest.raises(ConfigError, match=r"names the set c, but there is no .*c/dataset\.json"):
        cases_of_part(data, splits(data, {"c": {"test": []}}), "test")
    with pytest.raises(ConfigError, match=r"names the case a9 of the set a, but .*has none"):
        cases_of_part(data, splits(data, {"a": {"test": ["a9"]}}), "test")


def test_a_part_that_a_set_lacks_is_named(data):
    path = splits(data, {"a": {"train": [], "val": []}})
    with pytest.raises(ConfigError, match=r"an entry 'test' in the set a, found: train, val"):
        cases_of_part(data, path, "test")


@pytest.mark.parametrize("sets", [None, [], {"a": []}, {"a": {"test": "a1"}}, {"a": {"test": [1]}}])
def test_another_table_is_refused(tmp_path, sets):
    with pytest.raises(ConfigError, match=r"splits\.json: expected .*of lists of cases"):
        read_splits(splits(tmp_path, sets))


def test_the_data_folder_is_the_given_one_then_the_environments_then_another(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_MOE_DATA", str(tmp_path / "environment"))
    assert data_folder(tmp_path / "given", tmp_path) == tmp_path / "given"
    assert data_folder(None, tmp_path) == tmp_path / "environment"
    monkeypatch.setenv("SAM_MOE_DATA", "")
    assert data_folder(None, tmp_path) == tmp_path
