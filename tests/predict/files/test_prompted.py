"""What is asked by prompts: targets, labels, the case of a file; and what is shown of the answer."""

import logging
from dataclasses import replace

import pytest

from sam_moe.errors import PromptError
from sam_moe.predict.files.command import run
from sam_moe.predict.files.manifest import Manifest
from sam_moe.predict.files.prompted import TARGET, LoadedModel, PromptedRequest
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read_header, write_volume
from sam_moe.space.phantom import ball

CLICK, OTHER = Prompt((Point((24, 24, 24)),)), Prompt((Box((18, 18, 18), (30, 30, 30)),))


@pytest.fixture
def typed(tmp_path, generator):
    write_volume(tmp_path / "scan.nii.gz", ball(generator)[0])
    return PromptedRequest(tmp_path / "scan.nii.gz", tmp_path / "m.nii.gz", prompt=CLICK)


@pytest.fixture
def filed(typed, tmp_path):
    case = PromptCase.of(
        "scan.nii.gz", {"liver": CLICK, "kidney": OTHER}, {"liver": 7, "kidney": 2}, "f" * 64
    )
    write(PromptSet(name="two", cases=(case,)), tmp_path / "two.json")
    return replace(typed, prompt=None, prompts_file=tmp_path / "two.json")


def checked(request):
    return request.checked(read_header(request.scan).grid)


def test_what_was_typed_is_one_target_without_a_name(typed):
    assert typed.targets == {TARGET: CLICK} and typed.labels == {TARGET: 1}
    assert checked(typed) == typed and typed.prompt_case() is None


def test_a_files_case_is_known_once_it_is_checked(filed):
    known = checked(filed)
    assert known.targets == {"liver": CLICK, "kidney": OTHER} and known.labels == {"liver": 7, "kidney": 2}
    assert checked(known) == known


def test_a_case_recorded_on_another_scan_is_warned_of(filed, caplog):
    known = checked(filed)
    with caplog.at_level(logging.WARNING):
        known.remark_on("f" * 64)
    assert not caplog.text
    known.remark_on("0" * 64)
    assert "recorded on another scan" in caplog.text and "voxel indices may mean other places" in caplog.text


def test_a_record_answers_the_same_targets_under_the_same_labels(typed, filed, model, tmp_path):
    loaded = LoadedModel(replace(model, whole_targets=False), "a" * 64)
    done = run(filed, lambda: loaded, silent)
    assert filed.is_answered_by(done.manifest) and not typed.is_answered_by(done.manifest)
    case = checked(filed).case
    target = case.targets[0].model_copy(update={"label": 8})
    other = case.model_copy(update={"targets": (target, *case.targets[1:])})
    assert not replace(filed, case=other).is_answered_by(done.manifest)
    unprompted = Manifest.model_validate(done.manifest.model_dump() | {"prompts": None})
    assert not filed.is_answered_by(unprompted)


def test_named_targets_are_shown_by_name(filed, model):
    loaded = LoadedModel(replace(model, whole_targets=False), "a" * 64)
    answer = run(filed, lambda: loaded, silent).answer
    liver, kidney = (answer.predictions[name] for name in ("liver", "kidney"))
    assert str(answer) == f"liver   {liver}\nkidney  {kidney}"
    assert answer.brief() == f"liver {liver}; kidney {kidney}"
    assert answer.explain() == f"liver: {liver.explain()}\nkidney: {kidney.explain()}"
    assert answer.names == {7: "liver", 2: "kidney"}
    assert list(answer.scene(answer.scan.volume).masks) == ["liver", "kidney"]


def test_a_prompt_of_negative_points_alone_is_refused_by_the_name_of_its_file(filed, tmp_path):
    case = PromptCase.of("scan.nii.gz", {"liver": Prompt((Point((2, 2, 2), False),))})
    write(PromptSet(name="none", cases=(case,)), tmp_path / "two.json")
    with pytest.raises(PromptError, match=r"two\.json: target 'liver': .*negative points alone"):
        checked(filed)
