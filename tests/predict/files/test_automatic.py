"""From a scan's file to its labels' without a prompt: names, record, picture, and nothing done twice."""

import json
from dataclasses import replace

import pytest
import torch

from sam_moe.errors import FileError, PromptError
from sam_moe.predict.files.automatic import AutomaticRequest, LoadedAutomaticModel
from sam_moe.predict.files.command import run
from sam_moe.predict.files.manifest import read_prompts, read_record
from sam_moe.predict.files.many import finished, run_many
from sam_moe.predict.files.prompted import LoadedModel
from sam_moe.predict.files.scans import automatic
from sam_moe.progress import silent
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.predict.automatic.bands import BLOCK, SHADE, Bands, model_of, painted
from tests.predict.automatic.test_segmenting import turned
from tests.predict.starting.bright import bright_model


@pytest.fixture
def scan(tmp_path):
    write_volume(tmp_path / "scan.nii.gz", painted(turned(25, (2, 2, 4), (45, 40, 20))))
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def loaded():
    return LoadedAutomaticModel(model_of(Bands()), "a" * 64)


@pytest.fixture
def load(loaded):
    return lambda: loaded


def test_labels_lie_on_the_scans_grid_with_their_names_beside(scan, load, loaded, tmp_path):
    done = run(AutomaticRequest(scan, tmp_path / "l.nrrd"), load, silent)
    written = read(tmp_path / "l.nrrd")
    assert written.grid.same_as(read(scan).grid)
    assert torch.equal(written.array, loaded.model.open(scan).segment().labels)
    assert json.loads((tmp_path / "l.labels.json").read_text()) == {"1": "grey", "2": "bright"}
    assert str(done).startswith("like CT of a block") and done.files["manifest"].endswith("l.run.json")


def test_the_record_has_what_it_was_taken_for_who_answered_and_every_structure(scan, load, tmp_path):
    volume = read(scan)
    write_volume(scan, Volume(torch.where(volume.array > 60, 0, volume.array), volume.grid))
    done = run(AutomaticRequest(scan, tmp_path / "l.nii.gz", as_set="block"), load, silent)
    record = read_record(tmp_path / "l.run.json")
    assert record == done.manifest
    found = record.automatic
    assert (found.asked, found.data_set, found.far) == ("block", "block", 6)
    assert found.words.startswith("taken for CT of a block, as asked")
    assert set(found.distances) == {"block", "shade"} and set(found.shares) == {"deep", "tokens"}
    grey, bright = found.structures
    assert (grey.name, grey.label, bright.voxels, bright.volume_ml) == ("grey", 1, 0, 0.0)
    assert grey.voxels == int((read(tmp_path / "l.nii.gz").array == 1).sum())
    assert grey.volume_ml == pytest.approx(grey.voxels * 0.016)
    assert found.not_found == ("bright",)
    assert record.prompts is None and record.targets == () and record.model.box_strategy == "none"
    assert done.as_json()["automatic"]["not_found"] == ["bright"]


def test_a_record_without_prompts_is_none_to_repeat(scan, load, tmp_path):
    run(AutomaticRequest(scan, tmp_path / "l.nii.gz"), load, silent)
    with pytest.raises(PromptError, match="of a run without prompts"):
        read_prompts(tmp_path / "l.run.json")


def test_a_person_is_warned_of_a_foreign_scan_and_of_an_empty_answer(scan, load, tmp_path, caplog):
    run(AutomaticRequest(scan, tmp_path / "l.nii.gz", as_set="shade"), load, silent)
    assert "scan.nii.gz: taken for MR of a shade, as asked, and unlike it" in caplog.text
    caplog.clear()
    volume = read(scan)
    volume.array[volume.array > 5] = 5
    write_volume(scan, volume)
    done = run(AutomaticRequest(scan, tmp_path / "l.nii.gz", as_set="block"), load, silent)
    assert "scan.nii.gz: nothing was found" in caplog.text
    assert str(done).splitlines()[-1] == "not found: grey, bright"


def test_what_is_not_ours_is_not_replaced_and_our_own_is(scan, load, tmp_path):
    request = AutomaticRequest(scan, tmp_path / "l.nii.gz")
    run(request, load, silent)
    run(replace(request, as_set="shade"), load, silent)
    assert json.loads((tmp_path / "l.labels.json").read_text()) == {"1": "grey"}
    (tmp_path / "l.nii.gz").write_bytes(b"by hand")
    with pytest.raises(FileError, match="--force"):
        run(request, load, silent)
    assert (tmp_path / "l.nii.gz").read_bytes() == b"by hand"
    run(replace(request, force=True), load, silent)
    assert len((tmp_path / "l.nii.gz").read_bytes()) > 7


def test_a_picture_shows_what_was_found(scan, load, tmp_path):
    stages = []
    request = AutomaticRequest(scan, tmp_path / "l.nii.gz", tmp_path / "l.png")
    done = run(request, load, lambda stage, share: stages.append(stage))
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    scene = done.answer.scene(read(scan))
    assert list(scene.masks) == ["grey", "bright"] and scene.title.startswith("like CT of a block")
    assert torch.equal(scene.masks["bright"], read(tmp_path / "l.nii.gz").array == 2)
    wanted = ["reading the scan", "loading the model", "looking", "preparing", "segmenting", "restoring"]
    assert list(dict.fromkeys(stages)) == [*wanted, "drawing", "writing"]


def test_many_scans_are_each_done_once_and_again_only_when_something_changed(tmp_path, load, loaded):
    scans, out = tmp_path / "scans", tmp_path / "labels"
    scans.mkdir()
    for number, name in enumerate(("a.nii.gz", "b.nrrd")):
        write_volume(scans / name, painted(Grid.around((number, 0, 0), (20, 20, 12), (4, 4, 6))))
    (scans / "broken.nii").write_bytes(b"no scan")

    def states(load=load, as_set=None):
        report = run_many(automatic([scans], out, as_set), load, silent, lambda case: None)
        return {case.image.removeprefix(f"{scans}/"): case.state for case in report.cases}, report

    first, report = states()
    assert first == {"a.nii.gz": "done", "b.nrrd": "done", "broken.nii": "failed"}
    done = [case.text for case in report.cases if case.state == "done"]
    assert all(text.startswith("like CT of a block; ") for text in done)
    before = "finished before"
    assert states()[0] == {"a.nii.gz": before, "b.nrrd": before, "broken.nii": "failed"}
    assert states(as_set="block")[0]["a.nii.gz"] == "done"
    assert states(as_set="block")[0]["a.nii.gz"] == before
    other = replace(loaded, weights_sha256="b" * 64)
    assert states(lambda: other, "block")[0]["b.nrrd"] == "done"


def test_a_record_of_prompts_is_no_answer_without_and_the_reverse(scan, load, loaded, tmp_path):
    request = AutomaticRequest(scan, tmp_path / "l.nii.gz")
    done = run(request, load, silent)
    assert finished(request, loaded.record()) and request.is_answered_by(done.manifest)
    assert not request.is_answered_by(done.manifest.model_copy(update={"automatic": None}))
    assert not replace(request, as_set="block").is_answered_by(done.manifest)


def test_a_line_for_each_scan_of_many(scan, load, tmp_path):
    found = run(AutomaticRequest(scan, tmp_path / "l.nii.gz"), load, silent).answer
    assert found.brief().startswith("like CT of a block; grey ") and "; bright " in found.brief()
    assert "\n" not in found.brief() and found.explain() == found.found.explain()
    assert {BLOCK.title, SHADE.title} <= {line.strip().split(":")[0] for line in found.explain().splitlines()}


def test_a_distance_that_is_not_known_is_recorded_as_such(scan, tmp_path):
    loaded = LoadedAutomaticModel(model_of(Bands(known=False)), "a" * 64)
    request = AutomaticRequest(scan, tmp_path / "l.nii.gz", as_set="block")
    done = run(request, lambda: loaded, silent)
    assert done.manifest.automatic.distances == {"block": None, "shade": None}
    assert read_record(tmp_path / "l.run.json") == done.manifest and finished(request, loaded.record())


@pytest.fixture
def loaded_then():
    """The boxes of the grey masks are answered by all that is no air; the bright masks stay."""
    grey, bright = BLOCK.labels
    sets = (BLOCK.model_copy(update={"labels": (grey.model_copy(update={"refine": "box"}), bright)}), SHADE)
    return LoadedAutomaticModel(model_of(Bands(sets)), "a" * 64, LoadedModel(bright_model(), "b" * 64))


def test_with_a_model_after_it_the_record_has_whose_mask_each_is_and_what_changed(
    scan, loaded, loaded_then, tmp_path
):
    before = loaded.model.open(scan).segment().labels
    done = run(AutomaticRequest(scan, tmp_path / "l.nii.gz"), lambda: loaded_then, silent)
    written, record = read(tmp_path / "l.nii.gz").array, read_record(tmp_path / "l.run.json")
    grey, bright = record.automatic.structures
    assert (record.model.id, record.model.then.id, record.model.then.weights_sha256) == (
        "bands",
        "bright",
        "b" * 64,
    )
    assert grey.answered_by == "box of the automatic mask, by bright"
    assert bright.answered_by == "automatic, by bands"
    assert torch.equal(written == 2, before == 2) and bright.changed_voxels == 0
    assert grey.changed_voxels == int(((written == 1) ^ (before == 1)).sum()) > 0
    assert grey.voxels == int((written == 1).sum())
    assert "then" in record.automatic.timings_ms
    line = f"then bright: grey ({grey.changed_voxels:,} voxels changed)"
    assert str(done).splitlines()[-1] == line and done.answer.brief().endswith(line)
    assert "  bright: automatic, by bands" in done.answer.explain()


def test_where_no_box_is_answered_better_the_labels_stay_and_that_is_a_line(scan, loaded, tmp_path):
    then = replace(loaded, then=LoadedModel(bright_model(), None))
    done = run(AutomaticRequest(scan, tmp_path / "l.nii.gz"), lambda: then, silent)
    assert torch.equal(read(tmp_path / "l.nii.gz").array, loaded.model.open(scan).segment().labels)
    assert str(done).endswith("then bright: no mask that it answers better")


def test_labels_without_a_model_after_are_not_those_with_one(scan, loaded, loaded_then, tmp_path):
    request = AutomaticRequest(scan, tmp_path / "l.nii.gz")
    run(request, lambda: loaded, silent)
    assert finished(request, loaded.record()) and not finished(request, loaded_then.record())
    run(request, lambda: loaded_then, silent)
    assert finished(request, loaded_then.record()) and not finished(request, loaded.record())
