"""Many scans in one run: each once, whatever fails, and none again that is finished."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam_moe.predict.files.command import run
from sam_moe.predict.files.many import run_many
from sam_moe.predict.files.prompted import LoadedModel, PromptedRequest
from sam_moe.predict.files.scans import prompted as requests
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read, write_volume
from sam_moe.space.phantom import ball

MIDDLE = Prompt((Point((24, 24, 24)),))
IMAGES = ("one.nii.gz", "below/two.nrrd", "three.nii")


@pytest.fixture
def scans(tmp_path, generator):
    folder = tmp_path / "scans"
    for image in IMAGES:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        write_volume(folder / image, ball(generator)[0])
    return folder


def prompted(folder, images=IMAGES, prompt=MIDDLE):
    cases = tuple(PromptCase.of(image, {"ball": prompt}) for image in images)
    write(PromptSet(name="some", cases=cases), folder / "prompts.json")
    return folder / "prompts.json"


@pytest.fixture
def load(model):
    narrow = replace(model, whole_targets=False)
    return lambda: LoadedModel(narrow, "a" * 64)


@pytest.fixture
def go(scans, load, tmp_path):
    """Run over the scans: the states by image in the order given, and the reports on the way."""

    def run_all(images=IMAGES, prompt=MIDDLE, loaded=load):
        reported = []
        asked = requests(scans, prompted(scans, images, prompt), tmp_path / "masks")
        report = run_many(asked, loaded, silent, reported.append)
        states = {case.image.removeprefix(f"{scans}/"): case.state for case in report.cases}
        return report, [states[image] for image in images], reported

    return run_all


def test_masks_lie_as_their_scans_do_and_are_those_of_one_scan_at_a_time(go, scans, load, tmp_path):
    report, states, reported = go()
    assert states == ["done"] * 3 and len(reported) == 3
    for image, mask in zip(IMAGES, ("one", "below/two", "three"), strict=True):
        alone = run(PromptedRequest(scans / image, tmp_path / "alone.nii.gz", prompt=MIDDLE), load, silent)
        found = read(tmp_path / "masks" / f"{mask}.nii.gz")
        assert torch.equal(found.array, alone.answer.predictions["target"].mask)
    assert "3 scans: 3 done" in str(report)


def test_a_scan_that_fails_is_reported_and_stops_no_other(go, scans, tmp_path):
    (scans / IMAGES[0]).write_bytes((scans / IMAGES[0]).read_bytes()[:500])
    report, states, _ = go((*IMAGES, "missing.nii.gz"))
    assert states == ["failed", "done", "done", "failed"]
    assert [case.text for case in report.failed if "truncated" in case.text]
    assert [case.text for case in report.failed if "no such file" in case.text]
    assert not (tmp_path / "masks/one.nii.gz").exists()


def test_an_unforeseen_error_stops_no_other_scan_either(go, load):
    network, asked = load().model.network.module, []
    encode = network.encode

    def broken(image, dtype):
        asked.append(image)
        if len(asked) == 2:
            raise RuntimeError("not enough memory")
        return encode(image, dtype)

    network.encode = broken
    report, states, _ = go()
    assert sorted(states) == ["done", "done", "failed"]
    assert report.failed[0].text == "internal error, RuntimeError: not enough memory"


def test_what_was_finished_is_not_done_again(go, scans, tmp_path):
    (scans / IMAGES[0]).rename(tmp_path / "kept")
    assert go()[1] == ["failed", "done", "done"]
    (tmp_path / "kept").rename(scans / IMAGES[0])
    before = (tmp_path / "masks/three.nii.gz").stat().st_mtime_ns
    report, states, reported = go()
    assert states == ["done", "finished before", "finished before"] and len(reported) == 1
    assert (tmp_path / "masks/three.nii.gz").stat().st_mtime_ns == before
    assert not report.failed


def test_other_prompts_other_weights_and_lost_masks_are_done_again(go, load, tmp_path):
    go()
    (tmp_path / "masks/three.nii.gz").unlink()
    before = (tmp_path / "masks/one.nii.gz").read_bytes()
    for file in ("two.nii.gz", "two.run.json", "two.labels.json"):
        (tmp_path / "masks/below" / file).unlink()
    assert go()[1] == ["finished before", "done", "done"]
    assert (tmp_path / "masks/one.nii.gz").read_bytes() == before
    assert go(prompt=Prompt((Point((22, 24, 24)),)))[1] == ["done"] * 3
    model = load().model
    other = lambda: LoadedModel(model, "b" * 64)  # noqa: E731
    assert go(prompt=Prompt((Point((22, 24, 24)),)), loaded=other)[1] == ["done"] * 3


def test_two_cases_do_not_share_a_mask_and_stop_no_other(load, scans, tmp_path):
    asked = requests(scans, prompted(scans, ("one.nii.gz", "./one.nii.gz", "three.nii")), tmp_path / "masks")
    report = run_many(asked, load, silent, lambda case: None)
    assert sorted(case.state for case in report.cases) == ["done", "failed", "failed"]
    assert all("2 cases would write" in case.text for case in report.failed)
    assert (tmp_path / "masks/three.nii.gz").is_file() and not (tmp_path / "masks/one.nii.gz").exists()


def test_a_scan_of_the_mask_s_name_is_never_replaced(scans, load, tmp_path):
    """Masks beside their scans: the mask of `two.nrrd` would be `two.nii.gz`, which is another scan."""
    other = (scans / "one.nii.gz").read_bytes()
    (scans / "below/two.nii.gz").write_bytes(other)
    (scans / "three.nii.gz").write_bytes(other)
    write_volume(scans / "four.mha", read(scans / "one.nii.gz"))
    images = ("below/two.nrrd", "below/two.nii.gz", "three.nii", "four.mha")
    for force in (False, True):
        asked = requests(scans, prompted(scans, images), scans, force=force)
        report = run_many(asked, load, silent, lambda case: None)
        states = {Path(case.image).name: case.state for case in report.cases}
        assert [states[Path(image).name] for image in images[:2]] == ["failed", "failed"]
        assert states["four.mha"] == ("finished before" if force else "done")
        assert states["three.nii"] == ("done" if force else "failed")  # a scan that this run does not read
        assert (scans / "below/two.nii.gz").read_bytes() == other
        assert ((scans / "three.nii.gz").read_bytes() == other) is not force


@pytest.mark.parametrize(
    "image", ["..", ".", "below/..", "a\0b.nii", "x" * 300 + ".nii", "x" * 246 + ".nii", ".nii.gz"]
)
def test_a_name_that_no_mask_can_have_is_one_row(load, scans, tmp_path, image):
    if len(image) == 250:  # the scan can have it, the names beside its mask cannot
        (scans / image).write_bytes((scans / "three.nii").read_bytes())
    asked = requests(scans, prompted(scans, (image, "one.nii.gz")), tmp_path / "masks")
    report = run_many(asked, load, silent, lambda case: None)
    assert sorted(case.state for case in report.cases) == ["done", "failed"]
    assert "internal error" not in report.failed[0].text


def test_a_mask_that_somebody_edited_is_not_done_again_over_it(go, tmp_path):
    go()
    mask = tmp_path / "masks/three.nii.gz"
    mask.write_bytes(edited := mask.read_bytes() + b"by hand")
    report, states, _ = go(prompt=Prompt((Point((22, 24, 24)),)))
    assert states == ["done", "done", "failed"]
    assert "--force" in report.failed[0].text and mask.read_bytes() == edited


def test_a_scan_that_was_replaced_is_done_again_and_one_that_was_only_copied_is_not(go, scans, generator):
    go()
    copied = (scans / "three.nii").read_bytes()
    (scans / "three.nii").unlink()
    (scans / "three.nii").write_bytes(copied)
    other = ball(generator)[0]
    write_volume(scans / "one.nii.gz", other)
    assert go()[1] == ["done", "finished before", "finished before"]


def test_answers_to_other_prompts_are_not_taken_for_these(go, scans, load, tmp_path):
    """A is asked, B is asked and dies before its record, A is asked again."""
    go()
    first = (tmp_path / "masks/three.nii.gz").read_bytes()
    assert go(prompt=Prompt((Point((20, 24, 24)),)))[1] == ["done"] * 3
    assert go()[1] == ["done"] * 3
    assert (tmp_path / "masks/three.nii.gz").read_bytes() == first


def test_a_folder_that_cannot_be_written_is_one_row_for_each_scan_in_it(go, scans, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/below").write_text("a file where a folder is wanted")
    report, states, _ = go()
    assert states == ["done", "failed", "done"]
    assert "internal error" not in report.failed[0].text and "Expected a folder" in report.failed[0].text


def test_the_report_is_plain_json(go):
    found = json.loads(json.dumps(go()[0].as_json()))
    assert {case["state"] for case in found["cases"]} == {"done"}
