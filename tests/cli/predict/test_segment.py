"""`sam-moe segment`, as a person types it, with a tiny random network."""

import json
import subprocess
import sys

import pytest
import torch

from sam_moe import load, load_automatic
from sam_moe.predict.files.manifest import read_record
from sam_moe.registry.finding import DEFAULT_AUTOMATIC
from sam_moe.space.files import read, write_volume
from sam_moe.space.phantom import ball
from tests.registry.conftest import make_automatic_card
from tests.systems.m4oe.automatics import write_automatic


@pytest.fixture
def automatic(cards):
    """The default automatic model: of the sets neck and brain, random."""
    return write_automatic(cards, id=DEFAULT_AUTOMATIC)


def test_labels_on_the_scans_grid_and_what_it_was_taken_for(sam_moe, automatic, scan, tmp_path):
    ran = sam_moe("segment", scan, "--out", tmp_path / "labels.nii.gz", "--as", "neck")
    assert ran.code == 0, ran.err
    wanted = load_automatic().open(scan).segment("neck")
    written = read(tmp_path / "labels.nii.gz")
    assert torch.equal(written.array, wanted.labels) and written.grid.same_as(read(scan).grid)
    assert json.loads((tmp_path / "labels.labels.json").read_text()) == {"1": "cord", "2": "larynx"}
    lines = ran.out.splitlines()
    assert lines[0].startswith("taken for ") and ", as asked" in lines[0] and DEFAULT_AUTOMATIC in lines[0]
    for name, volume in wanted.volumes_ml.items():
        assert f"{name} " in ran.out if volume else name in lines[-1]
    assert f"mask: {tmp_path}/labels.nii.gz" in ran.remarks


def test_json_is_the_whole_record_on_one_line(sam_moe, automatic, scan, tmp_path):
    ran = sam_moe("segment", scan, "--out", tmp_path / "labels.nii.gz", "--json")
    assert ran.code == 0 and ran.out.count("\n") == 1
    found, record = json.loads(ran.out), read_record(tmp_path / "labels.run.json")
    assert found["automatic"] == record.automatic.model_dump(mode="json")
    assert found["files"]["mask"] == str(tmp_path / "labels.nii.gz")
    assert found["model"]["id"] == DEFAULT_AUTOMATIC and found["scan"]["path"] == str(scan)
    assert record.command[:2] == ("sam-moe", "segment")


def test_it_explains_distances_and_experts(sam_moe, automatic, scan, tmp_path):
    ran = sam_moe("segment", scan, "--out", tmp_path / "labels.nii.gz", "--explain")
    assert ran.code == 0 and ran.out.count("distance ") >= 2
    record = read_record(tmp_path / "labels.run.json").automatic
    assert all(f"  {place}: " in ran.out for place in record.shares)


def test_a_picture_is_drawn_of_one_scan_and_not_of_many(sam_moe, automatic, scan, tmp_path):
    words = ["segment", scan, "--overlay", tmp_path / "l.png", "--out"]
    assert sam_moe(*words, tmp_path / "l.nii.gz").code == 0 and (tmp_path / "l.png").is_file()
    (tmp_path / "labels").mkdir()
    ran = sam_moe(*words, tmp_path / "labels")
    assert ran.code == 2 and "--overlay draws one scan" in ran.err


def test_an_unknown_set_is_answered_with_the_known_ones_at_once(sam_moe, automatic, tmp_path):
    ran = sam_moe("segment", tmp_path / "none.nii", "--out", tmp_path / "l.nii.gz", "--as", "brian")
    assert ran.code == 2 and "no data set 'brian'" in ran.err and "nearest first: brain, neck" in ran.err


def test_a_model_that_answers_prompts_is_refused_with_its_own_verb(sam_moe, automatic, scan, tmp_path):
    ran = sam_moe("segment", scan, "--out", tmp_path / "l.nii.gz", "--model", "small")
    assert ran.code == 1 and "sam-moe predict" in ran.err and not (tmp_path / "l.nii.gz").exists()
    ran = sam_moe("predict", scan, "--point", 24, 24, 24, "--out", tmp_path / "m.nii.gz")
    assert ran.code == 0
    words = ["--point", 24, 24, 24, "--out", tmp_path / "m.nii.gz", "--model", DEFAULT_AUTOMATIC]
    ran = sam_moe("predict", scan, *words)
    assert ran.code == 1 and "sam-moe segment" in ran.err


def test_weights_without_references_ask_for_the_set(sam_moe, cards, scan, tmp_path):
    write_automatic(cards, references=False, id=DEFAULT_AUTOMATIC)
    ran = sam_moe("segment", scan, "--out", tmp_path / "l.nii.gz")
    assert ran.code == 1 and "--as SET" in ran.err and "neck, brain" in ran.err
    assert sam_moe("segment", scan, "--out", tmp_path / "l.nii.gz", "--as", "brain").code == 0


def test_a_folder_of_scans_is_done_once_and_failures_are_listed(sam_moe, automatic, generator, tmp_path):
    scans, labels = tmp_path / "scans", tmp_path / "labels"
    (scans / "sub").mkdir(parents=True)
    for name in ("a.nii.gz", "sub/b.nrrd"):
        write_volume(scans / name, ball(generator)[0])
    (scans / "broken.mha").write_text("no scan")
    ran = sam_moe("segment", scans, "--out", labels)
    assert ran.code == 1
    assert {line.split(": ")[0] for line in ran.out.splitlines()[:-1]} == {
        f"{labels}/a.nii.gz",
        f"{labels}/sub/b.nii.gz",
    }
    assert "3 scans: 2 done, 1 failed" in ran.out and f"failed: {scans}/broken.mha" in ran.err
    (scans / "broken.mha").unlink()
    assert "2 scans: 2 finished before" in sam_moe("segment", scans, "--out", labels).out
    several = ["segment", scans / "a.nii.gz", scans / "sub/b.nrrd", "--out"]
    assert "2 scans: 2 done" in sam_moe(*several, tmp_path / "others").out
    assert (tmp_path / "others/b.nii.gz").is_file()
    ran = sam_moe(*several, tmp_path / "one.nii.gz")
    assert ran.code == 2 and "2 scans do not fit into" in ran.err


def test_a_file_can_be_segmented_into_a_folder(sam_moe, automatic, scan, tmp_path):
    (tmp_path / "labels").mkdir()
    assert sam_moe("segment", scan, "--out", tmp_path / "labels").code == 0
    assert (tmp_path / "labels/scan.nii.gz").is_file()


def test_then_a_promptable_model_answers_the_boxes_that_the_card_names(sam_moe, cards, scan, tmp_path):
    labels = [{"name": "cord", "refine": "box"}, {"name": "larynx"}]
    neck, brain = make_automatic_card()["sets"]
    write_automatic(cards, id=DEFAULT_AUTOMATIC, sets=[neck | {"labels": labels}, brain])
    ran = sam_moe(
        "segment", scan, "--out", tmp_path / "l.nrrd", "--as", "neck", "--then", "--then-model", "small"
    )
    assert ran.code == 0, ran.err
    record = read_record(tmp_path / "l.run.json")
    cord, larynx = record.automatic.structures
    assert record.model.then.id == "small" and cord.answered_by == "box of the automatic mask, by small"
    assert larynx.changed_voxels == 0
    automatic = load_automatic().open(scan).segment("neck")
    started = load("small").open(scan).start_from(automatic)
    started.refine_by_rule()
    assert torch.equal(read(tmp_path / "l.nrrd").array, started.label_map().labels)
    assert f"then small: cord ({cord.changed_voxels:,} voxels changed)" in ran.out


def test_the_model_that_is_asked_then_takes_prompts_and_is_named_with_then(
    sam_moe, automatic, scan, tmp_path
):
    words = ["segment", scan, "--out", tmp_path / "l.nii.gz", "--then-model"]
    ran = sam_moe(*words, "small")
    assert ran.code == 2 and "--then-model is of --then" in ran.err
    ran = sam_moe(*words, DEFAULT_AUTOMATIC, "--then")
    assert ran.code == 1 and "sam-moe segment" in ran.err and not (tmp_path / "l.nii.gz").exists()


@pytest.mark.slow
def test_two_processes_do_each_scan_once_and_one_of_them_reports(automatic, generator, tmp_path):
    scans, labels = tmp_path / "scans", tmp_path / "labels"
    scans.mkdir()
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        write_volume(scans / name, ball(generator)[0])
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["-m", "sam_moe", "segment", str(scans), "--out", str(labels), "--model", str(automatic.folder)]
    done = subprocess.run([*launched, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(line.split(": ")[0] for line in lines if line.startswith(str(labels))) == [
        str(labels / name) for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz")
    ]
    assert len([line for line in lines if "3 scans: 3 done" in line]) == 1
