"""Random kills of `sam-moe predict` on many scans: no wrong mask, and no leftovers after the next start."""

import random
import signal
import time

import pytest

from sam_moe.files import PREFIX
from sam_moe.ownership import sha256_or_none
from sam_moe.predict.files.manifest import Manifest, read_record
from sam_moe.predict.files.outputs import Outputs, holds
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read, write_volume

KILLS, SCANS = 4, 5


@pytest.mark.slow
def test_killed_runs_over_many_scans_leave_no_wrong_mask_and_no_leftovers(process, cards, scan, tmp_path):
    scans, masks, volume = tmp_path / "scans", tmp_path / "masks", read(scan)
    scans.mkdir()
    for number in range(SCANS):
        write_volume(scans / f"{number}.nii.gz", volume)
    for way, voxel in (("a", (24, 24, 24)), ("b", (22, 26, 24))):
        prompt = {way: Prompt((Point(voxel),))}
        cases = tuple(PromptCase.of(f"{number}.nii.gz", prompt) for number in range(SCANS))
        write(PromptSet(name=way, cases=cases), scans / f"{way}.json")

    def words(way, out):
        return ("predict", scans, "--prompts", scans / f"{way}.json", "--out", out)

    right = {}
    for way in "ab":
        running = process(*words(way, tmp_path / way))
        _, err = running.communicate(timeout=300)
        assert running.returncode == 0, err
        right[way] = sha256_or_none(tmp_path / way / "0.nii.gz")
    assert right["a"] != right["b"]
    rng, looked = random.Random(7), 0
    for number in range(KILLS):
        running = process(*words("ab"[number % 2], masks))
        for _ in running.stdout:  # until some masks were written, then a moment more
            if rng.random() < 0.5:
                break
        time.sleep(rng.random() * 0.1)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        for record in masks.glob("*.run.json"):
            looked += 1
            outputs, found = (
                Outputs(record.with_name(record.name.replace(".run.json", ".nii.gz"))),
                read_record(record),
            )
            if outputs.mask.exists():
                whose = "a" if sha256_or_none(outputs.mask) == right["a"] else "b"
                assert sha256_or_none(outputs.mask) == right[whose]
                assert not outputs.labels.exists() or whose in outputs.labels.read_text()
            if isinstance(found, Manifest):
                assert holds(found, outputs) and found.targets[0].name == whose
    assert looked > SCANS
    last = process(*words("a", masks))
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert {sha256_or_none(masks / f"{number}.nii.gz") for number in range(SCANS)} == {right["a"]}
    names = {path.name.partition(".")[2] for path in masks.iterdir()}
    assert names == {"nii.gz", "run.json", "labels.json"} and not list(tmp_path.rglob(f"{PREFIX}*"))
