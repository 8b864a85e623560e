import pytest

from sam_moe.cases.layouts.sppin import find
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from tests.evaluation.drawn import write_image, write_labels

SOURCE = Source(layout="sppin", root="sppin")
NAMES = ("T1", "T2", "DWI_b0", "DWI_b100")


def scan_set(root, patient="PT_01", time="1", names=NAMES, truth="segmentation", suffix=".mha"):
    for name in names:
        write_image(root / patient / time / f"{name}{suffix}")
    write_labels(root / patient / time / f"{truth}{suffix}")
    return root


def test_each_time_point_of_a_patient_is_a_case(tmp_path):
    for patient, time in (("PT_20", "20170105"), ("PT_20", "20170630"), ("PT_46", "20180101")):
        scan_set(tmp_path, patient, time)
    found = find(SOURCE, tmp_path)
    assert [(case.case, case.patient, case.strata["time"]) for case in found] == [
        ("PT_20_20170105", "PT_20", "first"),
        ("PT_20_20170630", "PT_20", "later"),
        ("PT_46_20180101", "PT_46", "first"),
    ]
    assert [*found[0].images] == ["T1", "T2", "b0", "b100"]
    assert found[0].names == {"neuroblastoma": (1,)}


@pytest.mark.parametrize(
    ("names", "truth"),
    [
        (NAMES, "segmentation"),
        (("PT_10_T1_1", "PT_10_T2_1", "PT_10_b0_1", "PT_10_b100_1"), "PT_10_T1_mask_1"),
        (("t1-contrast", "t2", "dwi-b0", "dwi-b100"), "label"),
    ],
)
def test_series_are_told_by_a_word_in_their_names(tmp_path, names, truth):
    (case,) = find(SOURCE, scan_set(tmp_path, names=names, truth=truth, suffix=".nii.gz"))
    assert [path.name.removesuffix(".nii.gz") for path in case.images.values()] == list(names)
    assert case.truth.name == f"{truth}.nii.gz"


def test_a_missing_series_is_named(tmp_path):
    with pytest.raises(ConfigError, match="PT_01/1: expected one file for b100, found none"):
        find(SOURCE, scan_set(tmp_path, names=NAMES[:3]))


def test_a_series_found_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"one file for T1, found T1.mha, T1_contrast.mha"):
        find(SOURCE, scan_set(tmp_path, names=(*NAMES, "T1_contrast")))


def test_a_scan_set_without_its_segmentation_is_refused(tmp_path):
    scan_set(tmp_path)
    (tmp_path / "PT_01" / "1" / "segmentation.mha").unlink()
    with pytest.raises(ConfigError, match="one file for segmentation, found none"):
        find(SOURCE, tmp_path)


def test_a_root_without_patients_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigError, match="no folders PT_<number>"):
        find(SOURCE, tmp_path)


def test_a_patient_without_scan_sets_is_refused(tmp_path):
    (tmp_path / "PT_01").mkdir()
    with pytest.raises(ConfigError, match="PT_01: no scan sets"):
        find(SOURCE, tmp_path)
