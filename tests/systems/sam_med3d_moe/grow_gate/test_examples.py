"""A few cases of one structure, from a set or from two plain folders."""

import shutil

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.space.files import read, write_mask
from sam_moe.systems.sam_med3d_moe.grow_gate.examples import read_examples


@pytest.fixture
def plain(folder, tmp_path):
    """images/ and labels/ alone, of the cases a and b."""
    for kind, end in (("images", ""), ("labels", "_label")):
        (tmp_path / "cases" / kind).mkdir(parents=True)
        for case in "ab":
            source = folder / "balls" / f"{case}{end}.nii.gz"
            shutil.copy(source, tmp_path / "cases" / kind / f"{case}.nii.gz")
    return tmp_path / "cases"


def test_of_a_set_the_labels_of_the_structures_count(folder):
    scans = read_examples(folder / "balls", ["Ball"])
    assert len(scans) == 4
    assert all(list(scan.structures.values()) == ["example"] for scan in scans)


def test_an_only_label_is_the_structure_whatever_its_name(folder, plain):
    for path in (plain / "labels").iterdir():
        mask = read(path)
        write_mask(path, (mask.array == 1).to(torch.uint8), mask.grid)
    scans = read_examples(plain, ["spleen"])
    assert [scan.name for scan in scans] == ["a", "b"]
    assert all(int((scan.labels == min(scan.structures)).sum()) > 60 for scan in scans)


def test_several_labels_of_which_none_has_the_name_are_refused(folder, plain):
    with pytest.raises(ConfigError, match=r"covers, spleen: found ball, box\. Name labels"):
        read_examples(folder / "balls", ["spleen"])
    with pytest.raises(ConfigError, match=r"found label 1, label 2\."):
        read_examples(plain, ["spleen"])


def test_a_case_without_its_label_is_named(plain):
    (plain / "labels" / "b.nii.gz").unlink()
    with pytest.raises(ConfigError, match="b: only in one of images/ and labels/"):
        read_examples(plain, ["ball"])


def test_a_set_of_label_maps_alone_is_refused(folder):
    with pytest.raises(ConfigError, match="has no case with an image"):
        read_examples(folder / "maps", ["ball"])


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no labelled scans"):
        read_examples(tmp_path / "nowhere", ["ball"])
