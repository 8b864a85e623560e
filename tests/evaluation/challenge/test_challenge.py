import json
import pickle
from itertools import permutations

import numpy as np
import pytest
import torch

from sam_moe.config import dump_settings
from sam_moe.errors import ConfigError, GeometryError
from sam_moe.evaluation.challenge.challenge import (
    cases_of,
    load_challenge,
    open_case,
    read_case,
)
from sam_moe.space.grid import Grid
from tests.evaluation.drawn import (
    GRID,
    dataset_json,
    image,
    label_map,
    pairs,
    write_image,
    write_labels,
    yaml_at,
)


def challenge(folder, sets, labels="{one: [1]}", more="", data=None):
    return load_challenge(yaml_at(folder, f"name: c\nsets: [{sets}]\nlabels: {labels}\n{more}"), data)


def test_cases_know_their_patients_and_strata(plain):
    cases = cases_of(plain)
    assert [case.id for case in cases] == ["p1_CT", "p1_MR", "p2_CT"]
    assert [case.patient for case in cases] == ["p1", "p1", "p2"]
    assert cases[1].strata == {"site": "here", "modality": "MR"}
    assert cases[1].labels == {"one": (1,), "both": (1, 2)}


def test_a_case_is_read_on_its_grid(plain):
    scan, masks = read_case(cases_of(plain)[2])
    assert torch.equal(scan.array, image(2)) and scan.grid.same_as(GRID)
    assert torch.equal(masks["one"].array, label_map() == 1)
    assert int(masks["both"].array.sum()) == 24 + 8 and masks["both"].grid.same_as(GRID)


def test_targets_that_are_absent_or_too_small_are_left_out_with_a_remark(tmp_path, no_data_folder, caplog):
    pairs(tmp_path / "set", ["a"])
    found = challenge(
        tmp_path, "{layout: folders, root: set}", "{one: [1], dot: [3], none: [9]}", "least_voxels: 2"
    )
    with caplog.at_level("INFO"):
        _, masks = read_case(cases_of(found)[0])
    assert set(masks) == {"one"}
    assert "dot has 1 voxels" in caplog.text and "none has 0 voxels" in caplog.text


def test_labels_may_be_named_as_each_set_names_them(tmp_path, no_data_folder):
    for name, labels in (("x", {"liver": 1, "kidney_left": 2}), ("y", {"liver": 2})):
        pairs(tmp_path / name, [name])
        entry = {"id": name, "image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}
        dataset_json(tmp_path / name, {"labels": labels, "cases": [entry]})
    sets = "{layout: folders, root: x}, {layout: folders, root: y}"
    x, y = cases_of(challenge(tmp_path, sets, "{liver: [], kidney: [kidney_left]}"))
    assert x.labels == {"liver": (1,), "kidney": (2,)} and y.labels == {"liver": (2,)}


def test_a_set_may_have_labels_of_its_own(tmp_path, no_data_folder):
    pairs(tmp_path / "x", ["a"])
    pairs(tmp_path / "y", ["b"])
    sets = "{layout: folders, root: x}, {layout: folders, root: y, labels: {one: [2]}}"
    a, b = cases_of(challenge(tmp_path, sets))
    assert (a.labels["one"], b.labels["one"]) == ((1,), (2,))


def test_a_structure_that_nothing_is_called_is_refused(tmp_path, no_data_folder):
    pairs(tmp_path / "x", ["a"])
    entry = {"id": "a", "image": "images/a.nii.gz", "label": "labels/a.nii.gz"}
    dataset_json(tmp_path / "x", {"labels": {"liver": 1, "spleen": 2}, "cases": [entry]})
    with pytest.raises(ConfigError, match=r"structure livr.*\(liver, spleen\)"):
        cases_of(challenge(tmp_path, "{layout: folders, root: x}", "{livr: [], spleen: []}"))


def test_cases_of_one_name_need_a_prefix(tmp_path, no_data_folder):
    pairs(tmp_path / "x", ["a"])
    pairs(tmp_path / "y", ["a"])
    with pytest.raises(ConfigError, match="cases have one name, such as a.*prefix"):
        cases_of(challenge(tmp_path, "{layout: folders, root: x}, {layout: folders, root: y}"))
    two = cases_of(challenge(tmp_path, "{layout: folders, root: x}, {layout: folders, root: y, prefix: y_}"))
    assert [(case.id, case.patient) for case in two] == [("a", "a"), ("y_a", "y_a")]


def test_roots_are_sought_in_the_given_folder_then_in_the_environments_then_beside_the_yaml(
    tmp_path, monkeypatch
):
    for name in ("given", "environment", "beside"):
        pairs(tmp_path / name / "set", [name])
    monkeypatch.setenv("SAM_MOE_DATA", str(tmp_path / "environment"))
    folder, sets = tmp_path / "beside", "{layout: folders, root: set}"

    def first(data=None, root=sets):
        return cases_of(challenge(folder, root, data=data))[0].id

    assert first(tmp_path / "given") == "given"
    assert first() == "environment"
    assert first(root="{layout: folders, root: ./set}") == "beside"
    monkeypatch.delenv("SAM_MOE_DATA")
    assert first() == "beside"


def test_a_missing_set_says_where_it_was_sought(tmp_path, no_data_folder):
    with pytest.raises(ConfigError, match=r"no folder .*nowhere.*--data or \$SAM_MOE_DATA"):
        cases_of(challenge(tmp_path, "{layout: folders, root: nowhere}"))


def test_a_label_map_on_another_grid_is_refused_with_the_cases_name(plain):
    case = cases_of(plain)[0]
    write_labels(case.truth, grid=Grid(np.diag([-2.0, -2.0, 3.1, 1.0]), GRID.shape))
    with pytest.raises(GeometryError, match="p1_CT: p1_CT.nii.gz and image: not the same grid"):
        read_case(case)


@pytest.mark.parametrize("turn", [*permutations(range(3))])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2), (0, 1, 2)])
def test_a_truth_with_its_axes_in_another_order_is_brought_into_the_scans(plain, turn, flip):
    """The same voxels at the same places, stored along other axes: each number lands where it belongs."""
    case = cases_of(plain)[0]
    matrix = np.zeros((4, 4))
    matrix[list(turn), range(3)] = 1
    matrix[3, 3] = 1
    shape = tuple(np.array(GRID.shape)[list(turn)].tolist())
    for axis in flip:
        matrix[:, 3] += matrix[:, axis] * (shape[axis] - 1)
        matrix[:, axis] *= -1
    write_labels(case.truth, label_map().permute(turn).flip(flip), Grid(GRID.affine @ matrix, shape))
    scan, masks = read_case(case)
    assert torch.equal(masks["one"].array, label_map() == 1) and masks["one"].grid.same_as(scan.grid)
    assert int(masks["both"].array.sum()) == 32


@pytest.mark.parametrize("table", ["nnunet", "folders"])
def test_voxels_called_ignore_are_no_structure_and_in_no_truth(tmp_path, no_data_folder, table):
    root = tmp_path / "set"
    if table == "nnunet":
        write_image(root / "imagesTr" / "a_0000.nii.gz")
        write_labels(root / "labelsTr" / "a.nii.gz")
        labels = {"background": 0, "one": 1, "ignore": 3}
        dataset_json(root, {"channel_names": {"0": "T1"}, "labels": labels})
    else:
        pairs(root, ["a"])
        listed = [{"id": "a", "image": "images/a.nii.gz", "label": "labels/a.nii.gz"}]
        dataset_json(root, {"cases": listed, "labels": {"one": 1, "ignore": 3}})
    source = f"{{layout: {table}, root: set}}"
    (case,) = cases_of(challenge(tmp_path, source, "{one: []}"))
    assert case.ignored == (3,)
    opened = open_case(case)
    assert np.array_equal(opened.ignored, (label_map() == 3).numpy()) and int(opened.ignored.sum()) == 1
    for labels in ("{one: [1, 3]}", "{ignore: []}"):
        with pytest.raises(ConfigError, match="has the value 3, which its set's table calls 'ignore'"):
            cases_of(challenge(tmp_path, source, labels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: {one: [0]}", "one: values .0.; a label's values are 1 or more"),
        ("labels: {one: [1]}\nleast_voxels: 0", "least_voxels"),
        ("labels: {}", "labels"),
        ("labels: {one: [1]}\nnsd_tolerence_mm: 2", "did you mean 'nsd_tolerance_mm'"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, text, message):
    path = yaml_at(tmp_path, f"name: c\nsets: [{{layout: folders, root: x}}]\n{text}\n")
    with pytest.raises(ConfigError, match=message):
        load_challenge(path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("patient: 'p[0-9]'", "no group"),
        ("patient: '('", "no regular expression"),
        ("strata: {m: CT}", "no group"),
    ],
)
def test_expressions_need_a_group(tmp_path, key, message):
    with pytest.raises(ConfigError, match=message):
        challenge(tmp_path, f"{{layout: folders, root: x, {key}}}")


def test_a_reference_that_a_case_lacks_is_refused(tmp_path, no_data_folder):
    pairs(tmp_path / "set", ["a"])
    with pytest.raises(ConfigError, match="no series 'T1', only image"):
        cases_of(challenge(tmp_path, "{layout: folders, root: set}", more="reference: T1"))


def test_a_challenge_as_it_was_run_can_be_written_and_read_again(plain, tmp_path):
    dump_settings(plain, tmp_path / "again.yaml")
    again = load_challenge(tmp_path / "again.yaml")
    assert again == plain
    assert cases_of(again) == cases_of(plain)


def test_a_challenge_travels_between_processes(plain):
    assert cases_of(pickle.loads(pickle.dumps(plain))) == cases_of(plain)


def test_what_is_written_of_a_challenge_is_json_without_places_on_this_machine(plain, tmp_path):
    assert str(tmp_path) not in json.dumps(plain.model_dump(mode="json"))


def test_the_real_tumours_make_a_challenge(data_dir, tmp_path):
    text = "{layout: folders, root: sts_tumour_ct_mr, strata: {modality: '_(CT|MR)'}}"
    cases = cases_of(challenge(tmp_path, text, "{tumour: [tumour_gtv]}", data=data_dir))
    assert len(cases) == 44 and len({case.patient for case in cases}) == 22
    scan, masks = read_case(cases[0])
    assert (cases[0].id, int(masks["tumour"].array.sum())) == (
        "STS_001_CT",
        45416,
    )  # as its dataset.json says
    assert scan.grid.shape == (97, 99, 96)
