"""Manifests: where they lie, what they hold, and that their prompts can be replayed."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from sam_moe.config import read_json, write_json
from sam_moe.errors import PromptError
from sam_moe.predict.answered import Answered
from sam_moe.predict.files.manifest import (
    AnsweredRecord,
    GridRecord,
    Manifest,
    ModelRecord,
    ScanRecord,
    case_for,
    machine,
    now,
    prompts_of,
    read_prompts,
    target_record,
)
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball

GRID = Grid.around((0, 0, 0), (48, 48, 48), (1.5, 1.5, 1.5))
CLICKS = Prompt((Point((24, 24, 24)), Point((2, 2, 2), positive=False)))


@pytest.fixture
def manifest(model, generator, tmp_path):
    """The manifest of a real prediction."""
    found = model.open(ball(generator)[0]).predict(*CLICKS)
    mask = tmp_path / "out" / "liver.nii.gz"
    mask.parent.mkdir()
    scan = tmp_path / "scans" / "scan.nii.gz"
    return Manifest(
        finished=now(),
        seconds=1.5,
        command=("sam-moe", "predict"),
        mask=mask.name,
        scan=ScanRecord(path=str(scan), fingerprint="f" * 64, grid=GridRecord.of(GRID)),
        model=ModelRecord(id="random", box_strategy="mask"),
        machine=machine("cpu"),
        targets=(target_record("liver", 4, found),),
        prompts=prompts_of(
            scan, "f" * 64, GRID, {"liver": CLICKS}, {"liver": 4}, mask.with_name("liver.run.json")
        ),
    )


def test_a_manifest_reads_back_equal(manifest, tmp_path):
    write_json(manifest, tmp_path / "x.run.json")
    assert read_json(Manifest, tmp_path / "x.run.json", PromptError) == manifest


def test_its_prompts_name_the_scan_from_where_the_manifest_lies(manifest):
    (case,) = manifest.prompts.cases
    assert case.image == "../scans/scan.nii.gz"
    assert case.fingerprint == "f" * 64
    assert case.prompt("liver") == CLICKS
    assert case.targets[0].label == 4


def test_prompts_are_read_from_a_manifest_and_from_a_plain_set(manifest, tmp_path):
    write_json(manifest, tmp_path / "x.run.json")
    write(manifest.prompts, tmp_path / "x.json")
    assert read_prompts(tmp_path / "x.run.json") == read_prompts(tmp_path / "x.json") == manifest.prompts


def test_a_manifest_that_was_spoiled_is_refused_by_field(manifest, tmp_path):
    spoiled = json.loads(manifest.model_dump_json()) | {"seconds": "long"}
    (tmp_path / "x.run.json").write_text(json.dumps(spoiled))
    with pytest.raises(PromptError, match="x.run.json: seconds: "):
        read_prompts(tmp_path / "x.run.json")


def test_mixed_units_are_written_down_in_millimetres(tmp_path):
    mixed = Prompt((Point((24, 24, 25)), Box((-9, -9, -9), (9, 9, 9), space="mm")))
    (case,) = prompts_of(tmp_path / "s.nii", "f", GRID, {"t": mixed}, {"t": 1}, tmp_path / "m.run.json").cases
    assert case.space == "mm"
    # Voxel 24 of 48 lies at the centre, 0 mm; one voxel more along k is 1.5 mm up.
    assert case.prompt("t").points[0].at == (0, 0, 1.5)
    assert case.prompt("t").boxes[0].stop == (9, 9, 9)


def test_a_set_of_one_case_speaks_of_any_scan_and_one_of_several_only_of_those_it_names(tmp_path):
    first, second = (PromptCase.of(f"{name}.nii", {"t": CLICKS}) for name in "ab")
    file = tmp_path / "prompts.json"
    single = PromptSet(name="single", cases=(first,))
    assert case_for(single, file, tmp_path / "moved" / "other.nii") == first
    both = PromptSet(name="both", cases=(first, second))
    assert case_for(both, file, tmp_path / "b.nii") == second
    with pytest.raises(PromptError, match=r"no case is about .*c\.nii\. It is about: a\.nii, b\.nii"):
        case_for(both, file, tmp_path / "c.nii")


def test_a_grid_is_recorded_with_the_names_of_its_axes():
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    record = GridRecord.of(Grid(affine, (4, 5, 6)))
    assert (record.shape, record.spacing_mm, record.axes) == ((4, 5, 6), (2, 2, 3), "LPS")
    assert np.array_equal(record.affine, affine)


def test_a_machine_is_recorded_by_device_threads_and_versions():
    here = machine("cpu")
    assert (here.device, here.threads) == ("cpu", torch.get_num_threads())
    assert here.versions["torch"] == torch.__version__


def test_that_the_general_model_answered_for_want_of_a_sure_expert_is_kept():
    who = Answered({"general": 1.0}, {"general": 0.6, "cord": 0.4}, "in words", {"general": 1}, True)
    kept = AnsweredRecord.model_validate(asdict(who))
    assert kept.fell_back and kept.regions == {"general": 1}
    older = {name: value for name, value in asdict(who).items() if name != "fell_back"}
    assert not AnsweredRecord.model_validate(older).fell_back  # written before it was kept
