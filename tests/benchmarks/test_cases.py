"""Real cases as the benchmarks read them: labels by name, one grid, and no structure of an expert."""

import json

import pytest
import torch

from benchmarks import cases
from sam_moe.errors import GeometryError
from sam_moe.space.files import write_mask
from sam_moe.space.grid import Grid
from tests.benchmarks.drawn import GRID, LIVER, labels


def test_a_case_has_the_names_of_its_set_and_its_own_before_them(drawn_set):
    (a,), (b, no_image) = cases.part_of("validation")["drawn"], cases.part_of("test")["drawn"]
    assert cases.label_names(a) == {1: "liver", 2: "esophagus", 3: "spot"}
    assert cases.label_names(b) == {1: "liver of b", 3: "spot of b"}
    assert no_image.image is None


def test_a_set_without_names_has_none(drawn_set):
    path = drawn_set / "drawn" / "dataset.json"
    described = json.loads(path.read_text("utf-8")) | {"labels": ["liver"]}
    path.write_text(json.dumps(described), encoding="utf-8")
    (a,) = cases.part_of("validation")["drawn"]
    assert cases.label_names(a) == {}


def test_fields_beside_the_names_are_those_of_the_description(drawn_set):
    assert cases.described("drawn")["a"]["label_voxels"] == {"1": 480, "2": 100, "3": 8}
    assert cases.expert_labels() == {"esophagus"}


def test_a_scan_and_its_labels_are_read_on_one_grid(drawn_set):
    scan, label = cases.read_case("drawn", "a")
    assert scan.grid.shape == label.grid.shape == GRID.shape
    assert torch.equal(label.array.to(torch.uint8), labels())
    assert int(scan.array[9, 9, 7]) > 350 > int(scan.array[0, 0, 0])


def test_labels_on_another_grid_are_refused(drawn_set):
    path = drawn_set / "drawn" / "labels" / "a.nii.gz"
    moved = GRID.affine.copy()
    moved[0, 3] += 1.5
    write_mask(path, labels(), Grid(moved, GRID.shape))
    with pytest.raises(GeometryError):
        cases.read_case("drawn", "a")


def test_general_cases_leave_out_experts_labels_and_what_is_too_small(drawn_set):
    (found,) = cases.general_cases("validation")
    assert (found.set, found.case, found.structure) == ("drawn", "a", "liver")
    assert torch.equal(found.truth.array, labels() == LIVER)


def test_a_smaller_least_size_lets_small_structures_in_and_a_case_without_image_none(drawn_set):
    found = [(one.case, one.structure) for one in cases.general_cases("test", least_voxels=8)]
    assert found == [("b", "liver of b"), ("b", "spot of b")]
