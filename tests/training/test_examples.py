"""A few cases of one structure, from a set or from two plain folders."""

import shutil

import pytest

from sam_moe.errors import ConfigError
from sam_moe.training.examples import read_examples


@pytest.fixture
def plain(folder, tmp_path):
    """images/ and labels/ alone, of the cases a and b."""
    for kind, end in (("images", ""), ("labels", "_label")):
        (tmp_path / "cases" / kind).mkdir(parents=True)
        for case in "ab":
            source = folder / "balls" / f"{case}{end}.nii.gz"
            shutil.copy(source, tmp_path / "cases" / kind / f"{case}.nii.gz")
    return tmp_path / "cases"


def labelled(scans):
    return [int((scan.labels > 0).sum()) for scan in scans]


def test_of_a_set_the_labels_of_the_structures_count(folder):
    scans, own = read_examples(folder / "balls", ["Ball"])
    assert (own, len(scans)) == (("ball",), 4)
    assert all(list(scan.structures.values()) == ["example"] for scan in scans)


def test_where_none_has_the_name_all_labels_are_the_structure(folder, plain):
    scans, own = read_examples(folder / "balls", ["spleen"])
    assert own == ("ball", "box")
    again, own = read_examples(plain, ["spleen"])
    assert own == ("label 1", "label 2")
    assert [s.name for s in again] == ["a", "b"]
    assert all(int((s.labels == min(s.structures)).sum()) > 60 for s in again)
    assert labelled(again) == labelled(scans[:2])


def test_a_case_without_its_label_is_named(plain):
    (plain / "labels" / "b.nii.gz").unlink()
    with pytest.raises(ConfigError, match="b: only in one of images/ and labels/"):
        read_examples(plain, ["ball"])


@pytest.mark.parametrize("broken", ["nothing", "[1]", '{"cases": [{"id": "a"}]}'])
def test_a_dataset_that_is_none_is_refused(plain, broken):
    (plain / "dataset.json").write_text(broken)
    with pytest.raises(ConfigError, match="not readable as a set of cases"):
        read_examples(plain, ["ball"])


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Expected examples as a folder"):
        read_examples(tmp_path / "nowhere", ["ball"])
