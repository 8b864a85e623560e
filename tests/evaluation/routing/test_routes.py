"""A gate is run on recorded prompts as they are, and on labelled scans by an evaluation's click and box."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from sam_moe.errors import ConfigError, FileError, GeometryError, PromptError
from sam_moe.evaluation.asking.protocols import SIMULATED
from sam_moe.evaluation.asking.systems import ModelUnderTest
from sam_moe.evaluation.asking.targets import targets_of
from sam_moe.evaluation.challenge.challenge import open_case
from sam_moe.evaluation.routing.routes import Recorded, as_case, cases_in, route
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.prompts.promptset import write as write_prompts
from sam_moe.space.files import read, write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume
from tests.predict.ruled import choosing

GRID = Grid.around((0, 0, 0), (12, 12, 12), (1, 1, 2))
CASE = {"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}


def no_progress(stage, share):
    pass


def describe(folder, **fields):
    (folder / "dataset.json").write_text(json.dumps(fields))


@pytest.fixture
def folder(tmp_path):
    """Two cases, the second without an image; labels 1 and 4."""
    labels = torch.zeros(12, 12, 12, dtype=torch.uint8)
    labels[1:6, 1:6, 1:6] = 4
    labels[8:11, 8:11, 8:11] = 1
    write_mask(tmp_path / "label.nii.gz", labels, GRID)
    write_volume(tmp_path / "scan.nii.gz", Volume(torch.randn(12, 12, 12), GRID))
    describe(tmp_path, labels={"cord": 1}, cases=[CASE, {"id": "b", "label": "label.nii.gz"}])
    return tmp_path


@pytest.fixture
def phantom(tmp_path, generator):
    """One case with a ball in it."""
    scan, mask = ball(generator)
    write_volume(tmp_path / "scan.nii.gz", scan)
    write_mask(tmp_path / "label.nii.gz", mask.array, mask.grid)
    describe(tmp_path, labels={"ball": 1}, cases=[CASE])
    return tmp_path


def ruled(mixture, rule):
    """The same mixture under another rule, which keeps to one region."""
    return ModelUnderTest(replace(choosing(mixture, rule), whole_targets=False), {})


def targets(folder):
    (labelled,) = cases_in(folder)
    case = as_case(labelled)
    return targets_of(case, open_case(case))


def test_the_structures_are_those_of_the_label_map_in_the_order_of_values(folder):
    cord, other = targets(folder)
    assert (cord.label, other.label) == ("cord", "label 4")
    assert other.truth.sum() == 125
    click, box = (SIMULATED[name].item(cord, (), cord.truth) for name in ("click", "box"))
    assert click == Point((9, 9, 9))
    assert box == Box((8, 8, 8), (11, 11, 11))  # a twentieth of three voxels is none


def test_what_a_set_calls_ignore_is_no_structure_and_values_of_one_name_are_one(folder):
    describe(folder, labels={"cord": 1, "ignore": 4}, cases=[CASE])
    case = as_case(cases_in(folder)[0])
    assert (case.labels, case.ignored) == ({"cord": (1,)}, (4,))
    describe(folder, cases=[CASE | {"label_names": {"1": "both", "4": "both"}}])
    assert as_case(cases_in(folder)[0]).labels == {"both": (1, 4)}


def test_labels_with_their_axes_in_another_order_are_brought_into_the_scans(folder):
    before = targets(folder)
    label = read(folder / "label.nii.gz")
    turned = Grid(label.grid.affine[:, [2, 0, 1, 3]], (12, 12, 12))
    write_mask(folder / "label.nii.gz", label.array.permute(2, 0, 1), turned)
    assert all((a.truth == b.truth).all() for a, b in zip(targets(folder), before, strict=True))


def test_a_case_without_an_image_is_left_out_with_a_remark(folder, caplog):
    with caplog.at_level(logging.WARNING):
        assert [case.id for case in cases_in(folder)] == ["a"]
    assert "1 cases have no image and are left out: b" in caplog.text
    describe(folder, cases=[])
    with pytest.raises(PromptError, match="has no case with an image"):
        cases_in(folder)


def test_a_folder_of_nothing_is_named(tmp_path):
    with pytest.raises(
        FileError, match=r"holds no labelled scans\. Expected a folder with a dataset\.json, or"
    ):
        cases_in(tmp_path)


def test_plain_folders_of_images_and_labels_will_do(folder, tmp_path):
    for kind, file in (("images", "scan"), ("labels", "label")):
        (tmp_path / "plain" / kind).mkdir(parents=True)
        (folder / f"{file}.nii.gz").rename(tmp_path / "plain" / kind / "a.nii.gz")
    assert [target.label for target in targets(tmp_path / "plain")] == ["label 1", "label 4"]


def test_each_prompt_is_a_route_with_the_experts_and_the_gates_confidence(mixture, phantom):
    found = route(ruled(mixture, Forced(1)), cases_in(phantom), no_progress)
    assert found.ids == ("random", "cord", "liver")
    assert [(one.case, one.structure, one.prompt, [*one.experts]) for one in found.routes] == [
        ("a", "ball", "click", ["cord"]),
        ("a", "ball", "box", ["cord"]),
    ]
    click = found.routes[0]
    assert sum(click.confidence.values()) == pytest.approx(1, abs=1e-6)
    assert click.why == "asked for" and click.regions >= 1 and 0 <= click.dice <= 1


def test_a_click_is_answered_as_by_the_model_itself(mixture, phantom):
    system = ruled(mixture, TopK(2))
    click = route(system, cases_in(phantom), no_progress).routes[0]
    (target,) = targets(phantom)
    alone = system.model.open(phantom / "scan.nii.gz").predict(
        SIMULATED["click"].item(target, (), target.truth)
    )
    assert click.voxels == alone.voxels
    assert (click.experts, click.confidence) == (alone.answered.experts, alone.answered.confidence)
    assert click.dice == pytest.approx(alone.dice(read(phantom / "label.nii.gz")), abs=1e-4)


def test_the_seed_decides_the_boxes_and_nothing_else_does(mixture, phantom):
    system, cases = ruled(mixture, TopK(2)), cases_in(phantom)
    first, again, other = (route(system, cases, no_progress, seed).routes for seed in (0, 0, 5))
    assert first == again and first[0] == other[0]
    assert first[1].confidence != other[1].confidence


def test_recorded_prompts_are_given_together_as_they_are(mixture, phantom):
    prompt = Prompt((Point((20, 20, 20)), Point((2, 2, 2), positive=False)))
    case = PromptCase.of("scan.nii.gz", {"one": prompt, "two": prompt})
    write_prompts(PromptSet(name="two clicks", cases=(case,)), phantom / "prompts.json")
    (recorded,) = cases_in(phantom / "prompts.json")
    assert (recorded.id, recorded.scan) == ("scan.nii.gz", phantom / "scan.nii.gz")
    system = ruled(mixture, TopK(2))
    one, two = route(system, [recorded], no_progress).routes
    assert (one.structure, one.prompt, one.dice) == ("one", "prompts", None)
    alone = system.model.open(recorded.scan).predict(*prompt)
    assert one.voxels == two.voxels == alone.voxels
    assert one.confidence == two.confidence == alone.answered.confidence


def test_a_case_that_cannot_be_read_is_a_row_and_the_others_go_on(mixture, phantom):
    (good,) = cases_in(phantom)
    lost = replace(good, id="lost", image=phantom / "lost.nii.gz")
    found = route(ruled(mixture, TopK(2)), [lost, good], no_progress)
    assert [bool(one.error) for one in found.routes] == [True, False, False]
    assert "lost.nii.gz" in found.routes[0].error


def test_labels_on_another_grid_are_refused(mixture, phantom):
    write_volume(phantom / "scan.nii.gz", Volume(torch.randn(11, 12, 12), Grid(GRID.affine, (11, 12, 12))))
    with pytest.raises(GeometryError):
        route(ruled(mixture, TopK(2)), cases_in(phantom), no_progress)


def test_where_nothing_is_answered_the_first_reason_is_the_error(mixture, tmp_path):
    lost = Recorded(
        "lost", tmp_path / "lost.nii.gz", PromptCase.of("lost.nii.gz", {"x": Prompt((Point((1, 1, 1)),))})
    )
    with pytest.raises(FileError, match=r"lost\.nii\.gz"):
        route(ruled(mixture, TopK(2)), [lost], no_progress)


def test_a_model_alone_has_no_routes(model, phantom):
    with pytest.raises(ConfigError, match="random is a model alone and has no gate"):
        route(ModelUnderTest(model, {}), cases_in(phantom), no_progress)
