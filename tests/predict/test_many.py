"""Many scans in one run: each once, whatever fails, and none again that is finished."""

import json
from dataclasses import replace

import pytest
import torch

from sam_moe.errors import FileError, PromptError
from sam_moe.predict.command import Loaded, Request, run
from sam_moe.predict.manifest import beside
from sam_moe.predict.many import requests, run_many
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read, write_volume
from sam_moe.space.phantom import ball

MIDDLE = Prompt((Point((24, 24, 24)),))
IMAGES = ("one.nii.gz", "below/two.nrrd", "three.nii")


def no_tell(stage, share):
    pass


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
    return lambda: Loaded(narrow, "a" * 64)


@pytest.fixture
def go(scans, load, tmp_path):
    """Run over the scans: the states by image in the order given, and what was said on the way."""

    def run_all(images=IMAGES, prompt=MIDDLE, loaded=load):
        said = []
        asked = requests(scans, prompted(scans, images, prompt), tmp_path / "masks")
        report = run_many(asked, loaded, no_tell, said.append)
        states = {case.image.removeprefix(f"{scans}/"): case.state for case in report.cases}
        return report, [states[image] for image in images], said

    return run_all


def test_masks_lie_as_their_scans_do_and_are_those_of_one_scan_at_a_time(go, scans, load, tmp_path):
    report, states, said = go()
    assert states == ["done"] * 3 and len(said) == 3
    for image, mask in zip(IMAGES, ("one", "below/two", "three"), strict=True):
        alone = run(Request(scans / image, tmp_path / "alone.nii.gz", MIDDLE), load, no_tell)
        found = read(tmp_path / "masks" / f"{mask}.nii.gz")
        assert torch.equal(found.array, alone.predictions["target"].mask)
    assert "3 scans: 3 done" in str(report)


def test_a_scan_that_fails_is_reported_and_stops_no_other(go, scans, tmp_path):
    (scans / IMAGES[0]).write_bytes((scans / IMAGES[0]).read_bytes()[:500])
    report, states, _ = go((*IMAGES, "missing.nii.gz"))
    assert states == ["failed", "done", "done", "failed"]
    assert [case.text for case in report.failed if "truncated" in case.text]
    assert [case.text for case in report.failed if "no such file" in case.text]
    assert not (tmp_path / "masks/one.nii.gz").exists()


def test_an_error_that_nobody_foresaw_stops_no_other_scan_either(go, load):
    network, asked = load().model.network, []
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
    report, states, said = go()
    assert states == ["done", "finished before", "finished before"] and len(said) == 1
    assert (tmp_path / "masks/three.nii.gz").stat().st_mtime_ns == before
    assert not report.failed


def test_other_prompts_other_weights_and_lost_masks_are_done_again(go, load, tmp_path):
    go()
    (tmp_path / "masks/three.nii.gz").unlink()
    beside(tmp_path / "masks/below/two.nii.gz").write_text("{")
    assert go()[1] == ["finished before", "done", "done"]
    assert go(prompt=Prompt((Point((22, 24, 24)),)))[1] == ["done"] * 3
    model = load().model
    other = lambda: Loaded(model, "b" * 64)  # noqa: E731
    assert go(prompt=Prompt((Point((22, 24, 24)),)), loaded=other)[1] == ["done"] * 3


def test_scans_are_looked_for_in_their_folder_then_beside_the_prompts(scans, tmp_path):
    file = prompted(scans)
    (tmp_path / "other").mkdir()
    (scans / "three.nii").rename(tmp_path / "other" / "three.nii")
    found = [request.scan for request in requests(tmp_path / "other", file, tmp_path / "masks")]
    assert found == [scans / IMAGES[0], scans / IMAGES[1], tmp_path / "other/three.nii"]


def test_two_cases_do_not_share_a_mask(scans, tmp_path):
    with pytest.raises(PromptError, match=r"two cases would write .*one\.nii\.gz"):
        requests(scans, prompted(scans, ("one.nii.gz", "../one.nii")), tmp_path / "masks")


def test_masks_need_a_folder(scans, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="Expected a folder"):
        requests(scans, prompted(scans), tmp_path / "file")


def test_the_report_is_plain_json(go):
    found = json.loads(json.dumps(go()[0].as_json()))
    assert {case["state"] for case in found["cases"]} == {"done"}
