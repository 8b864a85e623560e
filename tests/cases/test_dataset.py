"""A set of labelled scans is read from its dataset.json, or from two folders of files with the same names."""

import json
import os

import pytest

from sam_moe.cases.dataset import read_dataset
from sam_moe.cases.layouts.folders import find
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError, FileError


def described(folder, **fields):
    (folder / "dataset.json").write_text(json.dumps(fields))
    return folder


def test_cases_come_in_their_order_with_names_of_their_own_or_the_sets(tmp_path):
    cases = [
        {"id": "b", "image": "images/b.nii.gz", "label": "labels/b.nii.gz"},
        {"id": "a", "label": "a.nrrd", "label_names": {"7": "tube"}},
    ]
    b, a = read_dataset(described(tmp_path, labels={"cord": 1}, cases=cases))
    assert (b.id, b.image, b.label) == ("b", tmp_path / "images/b.nii.gz", tmp_path / "labels/b.nii.gz")
    assert (b.name_of(1), b.name_of(7)) == ("cord", "label 7")
    assert (a.id, a.image, a.name_of(1), a.name_of(7)) == ("a", None, "label 1", "tube")


def test_labels_described_in_words_name_nothing(tmp_path):
    (case,) = read_dataset(described(tmp_path, labels="in words", cases=[{"id": "a", "label": "a.nii"}]))
    assert case.names == {}


@pytest.fixture
def plain(tmp_path):
    """Two cases by the names of their files, of several formats; what is no scan is not looked at."""
    for file in ("images/b.nii.gz", "images/a.1.mha", "labels/b.nrrd", "labels/a.1.nii", "labels/notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    return tmp_path


def test_files_of_the_same_name_are_a_case_whatever_their_format(plain):
    a, b = read_dataset(plain)
    assert (a.id, a.image, a.label) == ("a.1", plain / "images/a.1.mha", plain / "labels/a.1.nii")
    assert (b.id, b.image, b.label) == ("b", plain / "images/b.nii.gz", plain / "labels/b.nrrd")


def test_a_case_in_only_one_of_the_folders_is_named(plain):
    (plain / "labels" / "b.nrrd").unlink()
    with pytest.raises(FileError, match="b: only in one of images/ and labels/"):
        read_dataset(plain)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nothing", "not readable as JSON"),
        ("[1]", "expected an object"),
        ("{}", "cases: expected a list"),
        ('{"cases": [{"id": "a"}]}', r"cases\[0\]: expected 'id', 'image' and 'label'"),
        ('{"cases": [1]}', r"cases\[0\]: expected"),
        ('{"cases": [{"id": "a", "label": "a"}], "labels": {"cord": "one"}}', "labels of a case: expected"),
    ],
)
def test_a_description_that_is_none_is_refused_in_the_callers_class(plain, text, complaint):
    (plain / "dataset.json").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_dataset(plain, ConfigError)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(
        FileError, match=r"holds no labelled scans\. Expected a folder with a dataset\.json, or"
    ):
        read_dataset(tmp_path)


def test_companion_files_hidden_files_and_pipes_are_no_cases(plain):
    for name in (
        "images/._b.nii.gz",
        "images/._a.1.mha",
        "labels/._b.nrrd",
        "images/.DS_Store",
        "labels/.c.nii",
    ):
        (plain / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    os.mkfifo(plain / "images" / "d.nii")
    assert [case.id for case in read_dataset(plain)] == ["a.1", "b"]


def test_a_header_without_its_voxels_is_no_case_in_a_folder_as_in_a_layout(plain):
    for name in ("images/c.mhd", "labels/c.mhd"):
        (plain / name).write_text("ElementDataFile = c.raw\n")
    here = [case.id for case in read_dataset(plain)]
    assert here == ["a.1", "b"] == [case.case for case in find(Source(layout="folders", root="."), plain)]


def test_suffixes_may_be_capital(plain):
    (plain / "images/b.nii.gz").rename(plain / "images/b.NII.GZ")
    (plain / "labels/b.nrrd").rename(plain / "labels/b.Nrrd")
    b = read_dataset(plain)[1]
    assert (b.id, b.image, b.label) == ("b", plain / "images/b.NII.GZ", plain / "labels/b.Nrrd")


def test_two_files_of_one_case_are_named(plain):
    (plain / "images/b.mha").write_text("")
    with pytest.raises(FileError, match=r"b\.mha and b\.nii\.gz have one name"):
        read_dataset(plain)


def test_a_description_may_be_a_pipe_only_to_be_refused(tmp_path):
    (tmp_path / "real").mkdir()
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(FileError, match="holds no labelled scans"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("value", ["1.5", "true", "-1", "2147483648"])
def test_a_label_that_is_no_whole_number_is_refused(plain, value):
    (plain / "dataset.json").write_text(
        f'{{"cases": [{{"id": "a", "label": "a"}}], "labels": {{"cord": {value}}}}}'
    )
    with pytest.raises(FileError, match="labels of a case: expected"):
        read_dataset(plain)


@pytest.mark.parametrize("value", ["1e400", "NaN", "1" * 5000])
def test_a_number_that_is_none_is_refused(plain, value):
    (plain / "dataset.json").write_text(
        f'{{"cases": [{{"id": "a", "label": "a"}}], "labels": {{"cord": {value}}}}}'
    )
    with pytest.raises(FileError, match="not readable as JSON"):
        read_dataset(plain)
