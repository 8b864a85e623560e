"""Which cases there are; and one of them read: labels in the head's order, what is contoured, on its grid."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError, GeometryError
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample_labels
from sam_moe.training.slices.cases import list_cases, read_case
from sam_moe.training.slices.settings import SliceData
from tests.training.slices.conftest import data_set


@pytest.fixture
def one(data, both):
    """Reads the named case of the bodies, from the sources that are given."""

    def read(name="a", data_set=both[0], **keys):
        settings = data(**keys)
        sets = (data_set, both[1])
        case = next(case for case in list_cases(settings, sets)["train"] if case.id == name)
        return read_case(case, data_set)

    return read


def test_cases_come_part_by_part_and_set_by_set(data, both):
    listed = list_cases(data(), both)
    assert [(case.set, case.id) for case in listed["train"]] == [
        *((0, name) for name in "ab"),
        *((1, f"p{name}") for name in "ab"),
    ]
    assert [(case.set, case.id) for case in listed["validation"]] == [(0, "c")]


def test_a_folder_without_splits_joins_what_is_learnt_from(data, both, source, folder, drawn):
    drawn.write_case(folder / "more", "e", drawn.body())
    sources = {
        "train": [source(part="train"), source("more", labels={"left": [7], "right": [2], "deep": [5]})],
        "validation": [source(part="validation")],
    }
    listed = list_cases(data(bodies_ct=sources), both)
    assert [case.id for case in listed["train"] if case.set == 0] == ["a", "b", "e"]
    assert [case.id for case in listed["validation"]] == ["c"]


def test_labels_are_in_the_order_of_the_head_and_all_else_is_background(one, drawn):
    read = one()
    on_stack = resample_labels(Volume(drawn.body(), drawn.grid), read.stack.grid).array
    assert read.labels.unique().tolist() == [0, 1, 2, 3]
    for number, name in enumerate(("left", "right", "deep"), start=1):
        assert torch.equal(read.labels == number, on_stack == drawn.values[name])
    assert read.labels.dtype == torch.uint8


def test_left_has_the_lower_index_along_x(one):
    labels = one().labels
    left, right = (float((labels == number).nonzero()[:, 0].float().mean()) for number in (1, 2))
    assert left < labels.shape[0] / 2 < right


@pytest.mark.parametrize(("missing", "deep"), [("absent", True), ("uncontoured", False)])
def test_a_missing_label_is_absent_or_uncontoured_as_the_source_has_it(one, source, missing, deep):
    sources = {"train": [source(part="train", missing=missing)]}
    assert one("b", bodies_ct=sources).contoured == (True, True, True, deep)
    assert one("a", bodies_ct=sources).contoured == (True, True, True, True)


@pytest.mark.parametrize("missing", ["absent", "uncontoured"])
def test_a_label_that_a_table_does_not_know_is_uncontoured(one, source, folder, missing):
    table = json.loads((folder / "bodies" / "dataset.json").read_text())
    table["cases"][1]["label_names"] = {"7": "left", "2": "right"}
    (folder / "bodies" / "dataset.json").write_text(json.dumps(table))
    sources = {"train": [source(part="train", missing=missing)]}
    assert one("b", bodies_ct=sources).contoured == (True, True, True, False)


def test_labels_are_renamed_by_names_and_by_values_and_joined(one, source, both, drawn):
    renamed = both[0].model_copy(
        update={
            "labels": tuple(label.model_copy(update={"name": label.name.upper()}) for label in both[0].labels)
        }
    )
    own = {"LEFT": ["left", 9], "RIGHT": [2], "DEEP": ["deep"]}
    read = one(data_set=renamed, bodies_ct={"train": [source(part="train", labels=own)]})
    body = drawn.body()
    wanted = int(((body == drawn.values["left"]) | (body == drawn.values["target"])).sum())
    assert int((read.labels == 1).sum()) == wanted


def test_a_scan_and_its_labels_stored_in_another_order_of_axes_are_brought_together(one, folder, drawn):
    before = one()
    path = folder / "bodies" / "labels" / "a.nii.gz"
    turn = np.diag([-1.0, 1.0, 1.0, 1.0])
    turn[0, 3] = drawn.grid.shape[0] - 1
    write_mask(path, drawn.body().flip(0), Grid(drawn.grid.affine @ turn, drawn.grid.shape), None)
    assert torch.equal(one().labels, before.labels)


def test_labels_on_another_grid_are_refused_with_the_case_s_name(one, folder, drawn):
    affine = drawn.grid.affine.copy()
    affine[0, 3] += 0.5
    moved = Grid(affine, drawn.grid.shape)
    write_mask(folder / "bodies" / "labels" / "a.nii.gz", drawn.body(), moved, None)
    with pytest.raises(GeometryError, match="^a: not the same grid"):
        one()


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 3.0), (2.5, 1.5, 1.5)])
def test_labels_lie_where_they_are_in_the_scan_at_any_spacing(one, both, spacing_mm):
    finer = both[0].model_copy(update={"spacing_mm": spacing_mm})
    coarse, fine = one(), one(data_set=finer)
    assert fine.labels.shape == fine.stack.grid.shape == tuple(fine.stack.array.shape)
    for number in (1, 2, 3):
        at, before = (
            torch.from_numpy(read.stack.grid.world_of((read.labels == number).nonzero().numpy()))
            for read in (fine, coarse)
        )
        assert (at.mean(dim=0) - before.mean(dim=0)).abs().max() <= 1.0  # half a voxel of the scan
        ratio = len(at) * fine.stack.grid.voxel_ml / (len(before) * coarse.stack.grid.voxel_ml)
        assert 0.7 < ratio < 1.4
        brightest, wanted = (float(read.stack.array[read.labels == number].max()) for read in (fine, coarse))
        assert brightest == pytest.approx(wanted, abs=0.02)


def test_one_of_several_series_is_taken_by_name(one, both, source, folder, drawn):
    root = folder / "channels"
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for channel, offset in enumerate((0, 100)):
        scan = Volume(drawn.scan_of(drawn.body(), offset), drawn.grid)
        write_volume(root / "imagesTr" / f"case_000{channel}.nii.gz", scan)
    write_mask(root / "labelsTr" / "case.nii.gz", drawn.body(), drawn.grid, None)
    table = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, **drawn.values}}
    (root / "dataset.json").write_text(json.dumps(table))
    keys = {"layout": "nnunet", "part": "train", "splits": ""}
    first, second = (
        one("case", bodies_ct={"train": [source("channels", **keys, **more)]})
        for more in ({}, {"series": "T2"})
    )
    torch.testing.assert_close(
        second.stack.array - first.stack.array, torch.full_like(first.stack.array, 0.1)
    )
    assert torch.equal(first.labels, second.labels)
    with pytest.raises(ConfigError, match="no series 'T3'. Expected one of: T1, T2"):
        one("case", bodies_ct={"train": [source("channels", **keys, series="T3")]})


def test_a_root_that_begins_with_a_dot_is_from_where_you_stand(data, both, source, folder, monkeypatch):
    monkeypatch.chdir(folder)
    sources = {"train": [source("./bodies", part="train")]}
    moved = data(bodies_ct=sources).model_copy(update={"folder": folder / "elsewhere"})
    with pytest.raises(ConfigError, match="no folder .*elsewhere"):
        list_cases(moved, both)  # for the other set
    found = list_cases(moved.model_copy(update={"folder": folder}), both)["train"]
    assert [case.id for case in found if case.set == 0] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"lefd": ["left"]}}, "labels: 'lefd' is no label of bodies-ct. Expected one of: left"),
        ({"labels": {"left": ["left"], "right": [7]}}, "the value 7 of a is given to right and to left"),
        ({"labels": {"left": [0]}}, "the value 0 of a is given to left and to the background"),
        ({"labels": {"deep": ["depth"]}}, "no case to learn from names 'deep'.*nearest first: deep"),
    ],
)
def test_labels_that_do_not_fit_are_refused(data, both, source, changes, message):
    sources = {"train": [source(part="train", **changes)]}
    with pytest.raises(ConfigError, match=message):
        list_cases(data(bodies_ct=sources), both)


def test_voxels_that_were_not_annotated_are_refused(data, both, folder):
    table = json.loads((folder / "bodies" / "dataset.json").read_text())
    table["labels"]["ignore"] = 11
    (folder / "bodies" / "dataset.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match="a has voxels called 'ignore', which were not annotated"):
        list_cases(data(), both)


def test_sources_and_data_sets_must_be_the_same(data, both):
    with pytest.raises(ConfigError, match="'plain-mr' is in the recipe's sources or among"):
        list_cases(data(), both[:1])
    with pytest.raises(ConfigError, match="'odd-ct' is in the recipe's sources or among"):
        list_cases(data(), (*both, both[0].model_copy(update={"id": "odd-ct"})))


def test_two_cases_of_one_name_need_a_prefix(data, both, source):
    twice = [source(part="train"), source(part="train")]
    with pytest.raises(
        ConfigError, match="2 cases have one name, such as a. Give one of the sources a `prefix`"
    ):
        list_cases(data(bodies_ct={"train": twice}), both)


def test_a_patient_is_never_learnt_from_and_validated_on(data, both, source):
    sources = {"train": [source(part="train")], "validation": [source(cases=["b", "c"])]}
    with pytest.raises(ConfigError, match="1 patients are learnt from and validated on, such as b"):
        list_cases(data(bodies_ct=sources), both)
    apart = {**sources, "validation": [source(cases=["b", "c"], prefix="other-")]}
    assert [case.id for case in list_cases(data(bodies_ct=apart), both)["validation"]] == [
        "other-b",
        "other-c",
    ]


def test_every_patient_of_the_benchmarks_stays_in_its_part(data_dir):
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "splits.json"
    splits = json.loads(path.read_text())["sets"]["openkbp_headneck_ct"]
    where = {"layout": "folders", "root": "openkbp_headneck_ct", "splits": str(path)}
    more = {"layout": "folders", "root": "openkbp_headneck_ct_more", "missing": "uncontoured"}
    sources = {"train": [{**where, "part": "train"}, more], "validation": [{**where, "part": "validation"}]}
    data = SliceData.model_validate({"folder": data_dir, "sets": {"ct": sources}})
    organs = data_set("ct", ("spinal_cord", "esophagus", "brainstem", "parotid_left", "larynx"))
    listed = list_cases(data, (organs,))
    assert [case.id for case in listed["validation"]] == splits["validation"]
    learnt = [case.id for case in listed["train"]]
    assert learnt[: len(splits["train"])] == splits["train"] and len(learnt) == len(splits["train"]) + 54
    assert not set(learnt) & {*splits["validation"], *splits["test"]}
