"""Cases and questions come from recorded prompts or from labels."""

import json
import logging

import pytest
import torch

from sam_moe.errors import FileError, GeometryError, PromptError
from sam_moe.evaluation.routing.labelled import cases_of
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read, write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

GRID = Grid.around((0, 0, 0), (12, 12, 12), (1, 1, 2))


@pytest.fixture
def folder(tmp_path):
    """Two cases, the second without an image; labels 1 and 4."""
    labels = torch.zeros(12, 12, 12, dtype=torch.uint8)
    labels[1:6, 1:6, 1:6] = 4
    labels[8:11, 8:11, 8:11] = 1
    write_mask(tmp_path / "label.nii.gz", labels, GRID)
    write_volume(tmp_path / "scan.nii.gz", Volume(torch.randn(12, 12, 12), GRID))
    cases = [
        {"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"},
        {"id": "b", "label": "label.nii.gz"},
    ]
    describe(tmp_path, labels={"cord": 1}, cases=cases)
    return tmp_path


def describe(folder, **fields):
    (folder / "dataset.json").write_text(json.dumps(fields))


def asked(case):
    return list(case.questions(read(case.scan)))


def test_each_labelled_structure_is_asked_for_by_a_click_and_a_box(folder):
    (case,) = cases_of(folder)
    found = asked(case)
    assert [(q.structure, q.kind) for q in found] == [
        ("cord", "click"),
        ("cord", "box"),
        ("label 4", "click"),
        ("label 4", "box"),
    ]
    assert found[0].prompt == Prompt((Point((9, 9, 9)),))
    assert found[2].prompt == Prompt((Point((3, 3, 3)),))
    assert int(found[2].truth.array.sum()) == 125
    (box,) = found[1].prompt.boxes
    assert box == Box((8, 8, 8), (11, 11, 11))  # a tenth of three voxels is none


def test_what_a_set_calls_ignore_is_no_structure(folder):
    cases = [{"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}]
    describe(folder, labels={"cord": 1, "ignore": 4}, cases=cases)
    (case,) = cases_of(folder)
    assert {question.structure for question in asked(case)} == {"cord"}


def test_labels_with_their_axes_in_another_order_are_brought_into_the_scans(folder):
    (case,) = cases_of(folder)
    before = asked(case)
    label = read(folder / "label.nii.gz")
    turned = Grid(label.grid.affine[:, [2, 0, 1, 3]], (12, 12, 12))
    write_mask(folder / "label.nii.gz", label.array.permute(2, 0, 1), turned)
    again = asked(case)
    assert [question.prompt for question in again] == [question.prompt for question in before]
    assert all(torch.equal(a.truth.array, b.truth.array) for a, b in zip(again, before, strict=True))


def test_the_seed_decides_the_boxes_and_nothing_else_does(folder):
    labels = torch.zeros(12, 12, 12, dtype=torch.uint8)
    labels[:11, :11, :11] = 1
    write_mask(folder / "label.nii.gz", labels, GRID)
    boxes = [asked(cases_of(folder, seed)[0])[1].prompt for seed in (0, 0, 1, 2, 3)]
    assert boxes[0] == boxes[1]
    assert len(set(boxes)) > 1


def test_a_case_without_an_image_is_left_out_with_a_remark(folder, caplog):
    with caplog.at_level(logging.WARNING):
        assert [case.name for case in cases_of(folder)] == ["a"]
    assert "1 cases have no image and are left out: b" in caplog.text


def test_a_cases_own_names_go_first(folder):
    own = {"label_names": {"1": "tube", "4": "cube"}}
    case = {"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"} | own
    describe(folder, labels={"cord": 1}, cases=[case])
    assert {q.structure for q in asked(cases_of(folder)[0])} == {"tube", "cube"}


def test_recorded_prompts_are_asked_as_they_are(folder):
    prompt = Prompt((Point((3, 3, 3)), Point((9, 9, 9), positive=False)))
    case = PromptCase.of("scan.nii.gz", {"cube": prompt})
    write(PromptSet(name="two clicks", cases=(case,)), folder / "prompts.json")
    (found,) = cases_of(folder / "prompts.json")
    assert found.scan == folder / "scan.nii.gz"
    (question,) = asked(found)
    assert (question.structure, question.kind, question.prompt) == ("cube", "prompts", prompt)
    assert question.truth is None


def test_what_is_no_data_folder_is_told(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileError, match=r"empty: holds no labelled scans\. Expected a folder with a dataset\.json, or"
    ):
        cases_of(tmp_path / "empty")
    describe(folder, labels={}, cases=[{"image": "scan.nii.gz"}])
    with pytest.raises(FileError, match=r"cases\[0\]: expected 'id', 'image' and 'label'"):
        cases_of(folder)
    case = {"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}
    describe(folder, labels={"cord": "one"}, cases=[case])
    with pytest.raises(FileError, match="labels of a case: expected"):
        cases_of(folder)
    describe(folder, cases=[])
    with pytest.raises(PromptError, match="has no case with an image"):
        cases_of(folder)


def test_plain_folders_of_images_and_labels_will_do(folder, tmp_path):
    for kind, file in (("images", "scan"), ("labels", "label")):
        (tmp_path / "plain" / kind).mkdir(parents=True)
        (folder / f"{file}.nii.gz").rename(tmp_path / "plain" / kind / "a.nii.gz")
    (case,) = cases_of(tmp_path / "plain")
    assert case.name == "a" and {q.structure for q in asked(case)} == {"label 1", "label 4"}


def test_labels_on_another_grid_are_refused(folder):
    write_volume(folder / "scan.nii.gz", Volume(torch.randn(11, 12, 12), Grid(GRID.affine, (11, 12, 12))))
    with pytest.raises(GeometryError):
        asked(cases_of(folder)[0])
