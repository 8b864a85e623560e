import pytest

from sam_moe.cases.layouts.nnunet import find
from sam_moe.cases.parts import choose
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from tests.evaluation.drawn import dataset_json, write_image, write_labels

SOURCE = Source(layout="nnunet", root="Dataset001_Test")
VERSION_2 = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def data_set(root, table=VERSION_2, train=("case_01", "case_02"), test=(), channels=2):
    for ending, cases in (("Tr", train), ("Ts", test)):
        for case in cases:
            for channel in range(channels):
                write_image(root / f"images{ending}" / f"{case}_{channel:04d}.nii.gz", channel)
            write_labels(root / f"labels{ending}" / f"{case}.nii.gz")
    return dataset_json(root, table)


def test_each_channel_is_a_series_by_its_name(tmp_path):
    found = find(SOURCE, data_set(tmp_path))
    assert [case.case for case in found] == ["case_01", "case_02"]
    assert {name: path.name for name, path in found[1].images.items()} == {
        "T1": "case_02_0000.nii.gz",
        "T2": "case_02_0001.nii.gz",
    }
    assert found[1].truth == tmp_path / "labelsTr" / "case_02.nii.gz"


def test_regions_are_several_values_and_background_is_no_structure(tmp_path):
    assert find(SOURCE, data_set(tmp_path))[0].names == {"whole": (1, 2), "core": (2,)}


def test_the_first_versions_table_is_read_too(tmp_path):
    table = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (case,) = find(SOURCE, data_set(tmp_path, table, train=["hippocampus_001"], channels=1))
    assert case.names == {"Anterior": (1,), "Posterior": (2,)} and list(case.images) == ["MRI"]


def test_channels_of_one_name_are_told_apart_by_their_number(tmp_path):
    table = {**VERSION_2, "channel_names": {"0": "noNorm", "1": "noNorm"}}
    assert list(find(SOURCE, data_set(tmp_path, table))[0].images) == ["noNorm_0", "noNorm_1"]


def test_labelled_test_images_are_the_part_test(tmp_path):
    root = data_set(tmp_path / "Dataset001_Test", train=["a"], test=["b"])
    source = Source(layout="nnunet", root="Dataset001_Test", part="test")
    assert [case.case for case in choose(source, root, tmp_path)] == ["b"]


def test_test_images_without_labels_are_no_cases(tmp_path):
    root = data_set(tmp_path, train=["a"])
    write_image(root / "imagesTs" / "b_0000.nii.gz")
    assert [case.case for case in find(SOURCE, root)] == ["a"]


def test_a_patient_in_training_and_test_is_refused(tmp_path):
    root = data_set(tmp_path, train=["p1_before"], test=["p1_after"])
    source = Source(layout="nnunet", root=".", part="test", patient="^(p[0-9])")
    with pytest.raises(
        ConfigError, match="patient p1 .* two parts, p1_before in 'train' and p1_after in 'test'"
    ):
        choose(source, root, tmp_path)


def test_a_missing_channel_is_named(tmp_path):
    root = data_set(tmp_path)
    (root / "imagesTr" / "case_02_0001.nii.gz").unlink()
    with pytest.raises(ConfigError, match="case_02_0001 is missing in imagesTr"):
        find(SOURCE, root)


def test_a_file_without_a_channel_is_refused(tmp_path):
    root = data_set(tmp_path)
    write_image(root / "imagesTr" / "case_03.nii.gz")
    with pytest.raises(ConfigError, match="case_03.nii.gz: no channel in its name"):
        find(SOURCE, root)


def test_a_case_without_labels_is_left_out_with_a_remark(tmp_path, caplog):
    root = data_set(tmp_path)
    (root / "labelsTr" / "case_02.nii.gz").unlink()
    assert [case.case for case in find(SOURCE, root)] == ["case_01"]
    assert "1 cases of train lack image or labels" in caplog.text


@pytest.mark.parametrize("channels", [None, {}, {"first": "T1"}, ["T1"]])
def test_channels_must_be_numbered(tmp_path, channels):
    with pytest.raises(ConfigError, match="channel_names"):
        find(SOURCE, data_set(tmp_path, {**VERSION_2, "channel_names": channels}))
