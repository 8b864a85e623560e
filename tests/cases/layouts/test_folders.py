import pytest

from sam_moe.cases.layouts.folders import find
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from tests.evaluation.drawn import dataset_json, pairs, write_image

SOURCE = Source(layout="folders", root="set")


def test_images_and_labels_of_one_name_are_a_case_whatever_their_suffix(tmp_path):
    pairs(tmp_path, ["a"], suffix=".nii.gz")
    pairs(tmp_path, ["b"], suffix=".mha")
    (tmp_path / "images" / "readme.txt").write_text("no scan")
    found = find(SOURCE, tmp_path)
    assert [(case.case, case.truth.name) for case in found] == [("a", "a.nii.gz"), ("b", "b.mha")]


def test_folders_may_have_other_names(tmp_path):
    pairs(tmp_path, ["a"], images="scans", truths="masks")
    assert find(Source(layout="folders", root="s", images="scans", truths="masks"), tmp_path)[0].case == "a"


def test_a_file_without_a_partner_is_left_out_with_a_remark(tmp_path, caplog):
    pairs(tmp_path, ["a"])
    write_image(tmp_path / "images" / "alone.nii.gz")
    assert [case.case for case in find(SOURCE, tmp_path)] == ["a"]
    assert "1 files have no partner" in caplog.text and "alone" in caplog.text


def test_two_files_of_one_name_are_refused(tmp_path):
    pairs(tmp_path, ["a"], suffix=".nii.gz")
    pairs(tmp_path, ["a"], suffix=".mha")
    with pytest.raises(ConfigError, match=r"a.mha and a.nii.gz have one name"):
        find(SOURCE, tmp_path)


def test_a_dataset_json_says_what_the_cases_are(tmp_path):
    pairs(tmp_path, ["a", "b"])
    case = {"id": "x", "image": "images/b.nii.gz", "label": "labels/b.nii.gz"}
    bare = {"id": "y", "label": "labels/a.nii.gz"}
    own = {**case, "id": "z", "patient": "p7", "label_names": {"2": "spleen"}}
    dataset_json(tmp_path, {"labels": {"liver": 1, "background": 0}, "cases": [case, bare, own]})
    found = find(SOURCE, tmp_path)
    assert [(case.case, case.patient, case.names) for case in found] == [
        ("x", "", {"liver": (1,)}),
        ("z", "p7", {"spleen": (2,)}),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "cases: expected a list"),
        ({"cases": [{"id": "a"}]}, r"cases\[0\]: expected 'id', 'image' and 'label'"),
        ({"cases": ["a"]}, r"cases\[0\]: expected"),
        (
            {"cases": [{"id": "a", "image": "i", "label": "l"}], "labels": {"liver": "x"}},
            "labels of a case: expected",
        ),
    ],
)
def test_a_malformed_dataset_json_is_refused(tmp_path, table, message):
    with pytest.raises(ConfigError, match=message):
        find(SOURCE, dataset_json(tmp_path, table))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"images: no such folder"):
        find(SOURCE, tmp_path)
