"""A run may be killed, resumed, spread over processes and replayed: the rows are the same to the last bit."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.asking.protocols import replays_of, scripts_for
from sam_moe.evaluation.challenge.challenge import load_challenge
from sam_moe.evaluation.evaluate import evaluate
from sam_moe.evaluation.finishing import EvaluationRequest
from sam_moe.evaluation.results import read_result
from sam_moe.prompts import promptset
from sam_moe.space.files import read_header, write_mask
from sam_moe.space.phantom import ball
from tests.evaluation.answerers import (
    GRID,
    Growing,
    beside,
    growing,
    phantoms,
    run,
    two,
    untimed,
    write_challenge,
)

KILLS = 12
ROOT = Path(__file__).resolve().parents[2]

SLOW = """
import sys, time
from pathlib import Path
from sam_moe.evaluation.challenge.challenge import load_challenge
from tests.evaluation.answerers import GRID, Growing, run

class Slow(Growing):
    def answer(self, items):
        time.sleep(0.15)
        return super().answer(items)

def make():
    return (Slow(),)

if __name__ == "__main__":
    folder, out, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    run(load_challenge(folder / "challenge.yaml", folder), out, make, processes=processes)
"""


def start(script, *words, launcher=()):
    return subprocess.Popen(
        [*(launcher or [sys.executable]), script, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def cases(out):
    return sorted(path.name for path in (out / "cases").glob("*.json"))


def test_a_run_leaves_rows_record_and_prompts_and_nothing_half_done(tmp_path):
    done = run(phantoms(tmp_path / "set"), tmp_path / "out", protocol="clicks,cvpr2025")
    kept = read_result(tmp_path / "out")
    assert kept.rows == done.rows and len(kept.rows) == 3 * (5 + 6)
    assert kept.result == done.result
    assert kept.result.protocol["clicks"].startswith("a click on the deepest voxel")
    assert kept.result.systems["growing"]["licence"] == "CC0-1.0"
    assert list(kept.result.interactive["growing"]) == ["box+click", "click"]
    assert {"dice", "nsd", "hd95_mm", "official.hd95_mm", "auc"} <= kept.result.definitions.keys()
    assert [path.name for path in (tmp_path / "out" / "cases").glob(".*")] == []
    json.loads((tmp_path / "out" / "result.json").read_text(), parse_constant=pytest.fail)


def test_replayed_prompts_give_the_same_rows_to_the_last_bit(tmp_path):
    challenge = phantoms(tmp_path / "set")
    first = run(challenge, tmp_path / "first", protocol="clicks,box")
    recorded = promptset.read(tmp_path / "first" / "prompts.json")
    again = run(challenge, tmp_path / "again", scripts=replays_of(recorded), prompts="a")
    assert untimed(again.rows) == untimed(first.rows)
    repeated = promptset.read(tmp_path / "again" / "prompts.json")
    assert repeated.cases == recorded.cases


def test_each_of_several_systems_has_a_file_of_what_it_was_told(tmp_path):
    challenge = phantoms(tmp_path / "set", 2)
    done = run(challenge, tmp_path / "out", two)
    recorded = promptset.read(tmp_path / "out" / "prompts" / "other.json")
    assert recorded.cases[0].image == "../../set/images/p0_a.nii.gz"
    again = run(challenge, tmp_path / "again", scripts=replays_of(recorded), prompts="b")
    own = [row.model_copy(update={"system": "growing"}) for row in done.rows if row.system == "other"]
    assert untimed(again.rows) == untimed(own)


def test_going_on_gives_what_one_run_gives(tmp_path):
    challenge = phantoms(tmp_path / "set")
    whole = run(challenge, tmp_path / "whole")
    run(challenge, tmp_path / "parts")
    (tmp_path / "parts" / "cases" / "p1_a.json").unlink()
    (tmp_path / "parts" / "rows.csv").unlink()
    parts = run(challenge, tmp_path / "parts")
    assert untimed(parts.rows) == untimed(whole.rows)
    assert "2 of 3 cases were there from an earlier start of this run." in parts.result.notes


def test_a_folder_of_other_systems_is_refused(tmp_path):
    challenge = phantoms(tmp_path / "set", 1)
    run(challenge, tmp_path / "out")
    with pytest.raises(ConfigError, match="with other systems"):
        run(challenge, tmp_path / "out", two)


def test_a_protocol_that_a_system_does_not_support_is_refused_or_noted(tmp_path):
    challenge = phantoms(tmp_path / "set", 1)

    def clicker():
        system = Growing("clicker")
        system.supports = frozenset({"point"})
        return (system,)

    with pytest.raises(ConfigError, match="clicker supports point only"):
        run(challenge, tmp_path / "a", clicker, protocol="box")
    with pytest.raises(ConfigError, match="id of its own"):
        run(challenge, tmp_path / "b", lambda: (*growing(), *growing()))
    with pytest.raises(ConfigError, match="no system"):
        run(challenge, tmp_path / "c", lambda: ())
    done = run(challenge, tmp_path / "d", clicker, protocol="click,box")
    assert done.result.notes == ("clicker was not prompted by box, which it does not support.",)

    def boxer():
        system = Growing("boxer")
        system.supports = frozenset({"box"})
        return (system,)

    done = run(challenge, tmp_path / "e", boxer, protocol="cvpr2025")
    assert [row.prompt for row in done.rows] == ["box"]
    assert "boxer was prompted by box of cvpr2025 only" in done.result.notes[0]


def test_a_slow_system_may_be_run_on_few_patients_and_a_note_has_that(tmp_path):
    challenge = phantoms(tmp_path / "set")
    done = run(challenge, tmp_path / "out", two, protocol="click", only={"other": frozenset({"p1"})})
    assert [(row.system, row.patient) for row in done.rows] == [
        *(("growing", f"p{n}") for n in range(3)),
        ("other", "p1"),
    ]
    assert "other was run on 1 of 3 patients only" in done.result.notes[0]


def test_masks_go_unless_they_are_to_stay_and_the_report_has_its_pictures_anyway(tmp_path):
    challenge = phantoms(tmp_path / "set", 2)
    run(challenge, tmp_path / "out", protocol="click")
    assert not (tmp_path / "out" / "predictions").exists()
    assert "data:image/webp" in (tmp_path / "out" / "report.html").read_text()


def test_a_finished_run_is_left_as_it_is(tmp_path):
    challenge = phantoms(tmp_path / "set", 2)
    first = run(challenge, tmp_path / "out", protocol="click")
    written = (tmp_path / "out" / "report.html").stat().st_mtime_ns
    again = run(challenge, tmp_path / "out", protocol="click")
    assert again.rows == first.rows and again.result == first.result
    assert (tmp_path / "out" / "report.html").stat().st_mtime_ns == written


def test_masks_made_elsewhere_are_scored_beside_systems(tmp_path):
    challenge = phantoms(tmp_path / "set", 2)
    first = run(challenge, tmp_path / "first", save_masks=True)
    folder = tmp_path / "first" / "predictions" / "growing"
    (folder / "p1_a.nii.gz").rename(folder / "stranger.nii.gz")
    folder.rename(folder.with_name("theirs"))
    done = run(challenge, tmp_path / "out", predictions=folder.with_name("theirs"))
    given = {row.case: row for row in done.rows if row.system == "theirs"}
    last = next(row for row in first.rows if row.case == "p0_a" and row.prompt == "click5")
    assert given["p0_a"].dice == last.dice and given["p0_a"].prompt == "given"
    assert given["p1_a"].status == "missing" and given["stranger.nii.gz"].status == "extra"
    assert {row.status for row in done.rows if row.system == "growing"} == {"ok"}
    assert "theirs: masks made elsewhere" in done.result.notes
    theirs = folder.with_name("theirs")
    shutil.copyfile(theirs / "p0_a.nii.gz", theirs / "p1_a.nii.gz")
    again = run(challenge, tmp_path / "out", predictions=theirs)
    mended = {row.case: row for row in again.rows if row.system == "theirs"}
    assert mended["p1_a"].status == "ok" and mended["p0_a"] == given["p0_a"]
    checksums = [found.result.systems["theirs"]["sha256"] for found in (done, again)]
    assert checksums[0] != checksums[1]


def bad_archives(folder):
    """What strangers hand in as `.npz`: each once ended the evaluation of all."""
    scan, truth = ball(torch.Generator().manual_seed(0), GRID, radius_mm=16.0)
    imgs, gts = (volume.array.numpy().transpose(2, 1, 0) for volume in (scan, truth))
    folder.mkdir()
    np.savez(folder / "good.npz", imgs=imgs, gts=gts, spacing=GRID.spacing_mm)
    np.savez(
        folder / "big_endian.npz", imgs=imgs.astype(">f4"), gts=gts.astype(">i2"), spacing=GRID.spacing_mm
    )
    np.savez(folder / "words.npz", imgs=imgs, gts=gts, spacing="near")
    np.savez(folder / "pickled.npz", imgs=imgs, gts=np.array([{}], dtype=object), spacing=GRID.spacing_mm)
    np.save(folder / "renamed.npy", imgs)
    (folder / "renamed.npy").rename(folder / "renamed.npz")
    (folder / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(folder / "junk.npz", "w") as file:
        file.writestr("imgs.npy", "these are no numbers")
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (600000, 600000, 3)}\n"
    with zipfile.ZipFile(folder / "huge.npz", "w") as file:
        file.writestr("imgs.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)


def test_bad_archives_are_failed_rows_and_the_others_go_on(tmp_path):
    bad_archives(tmp_path / "npz")
    text = "name: c\nsets: [{layout: npz, root: ./npz}]\nlabels: {ball: [1]}\n"
    (tmp_path / "challenge.yaml").write_text(text)
    done = run(load_challenge(tmp_path / "challenge.yaml"), tmp_path / "out", protocol="box")
    status = {row.case: row.status for row in done.rows}
    fine = {case for case, found in status.items() if found == "ok"}
    assert fine == {"good", "big_endian"} and len(status) == 8 and set(status.values()) == {"ok", "failed"}
    assert "6 of 8 cases cannot be read: a fault of the data, not of a system" in done.result.notes[0]
    known = {row.case: row.volume_error_ml for row in done.rows}
    assert known["huge"] is None and known["good"] is not None
    figures = done.result.summary["all"]["growing"]["box"]
    assert figures["dice"]["n"] == 8 and figures["volume_error_ml"]["n"] == 2
    assert "known of 2" in (tmp_path / "out" / "report.html").read_text()


def correct(folder, case, radius_mm):
    """Another truth in an old file: the same length, as nothing is compressed, and the same time."""
    path = folder / "labels" / f"{case}.nii"
    before = path.stat() if path.is_file() else None
    grid = read_header(folder / "images" / f"{case}.nii.gz").grid
    apart = (np.indices(grid.shape).reshape(3, -1).T - np.array(grid.shape) // 2) * grid.spacing_mm
    truth = torch.from_numpy(np.linalg.norm(apart, axis=1) <= radius_mm).reshape(grid.shape)
    write_mask(path, truth, grid)
    (folder / "labels" / f"{case}.nii.gz").unlink(missing_ok=True)
    if before is not None:
        assert path.stat().st_size == before.st_size
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Killed(BaseException):
    """Ends a run where it is, as a signal does."""


@pytest.mark.parametrize("when", ["case 3 of 3", "writing the result"])
def test_no_figures_of_old_labels_stand_whenever_a_run_is_ended(tmp_path, when):
    folder, out = tmp_path / "set", tmp_path / "out"
    challenge = phantoms(folder)
    for number in range(3):
        correct(folder, f"p{number}_a", 12.0)
    old = run(challenge, out, protocol="box")
    correct(folder, "p0_a", 20.0)
    correct(folder, "p2_a", 20.0)

    def progress(stage, share):
        if stage.startswith(when):
            raise Killed

    with pytest.raises(Killed):
        evaluate(EvaluationRequest(challenge, scripts_for("box"), out), growing, progress)
    assert not [name for name in ("rows.csv", "result.json", "report.html") if (out / name).exists()]
    again = run(challenge, out, protocol="box")
    fresh = run(challenge, tmp_path / "fresh", protocol="box")
    assert untimed(again.rows) == untimed(fresh.rows) != untimed(old.rows)
    assert again.result.summary["all"] == fresh.result.summary["all"]
    assert not [*out.rglob(".*")]


def test_a_result_that_does_not_follow_from_its_cases_is_written_again(tmp_path):
    """The three files of an older start stand beside the cases of a newer one."""
    folder, out = tmp_path / "set", tmp_path / "out"
    challenge = phantoms(folder, 2)
    run(challenge, out, protocol="click")
    old = {name: (out / name).read_bytes() for name in ("rows.csv", "result.json", "report.html")}
    correct(folder, "p1_a", 20.0)
    fresh = run(challenge, out, protocol="click")
    for name, content in old.items():
        (out / name).write_bytes(content)
    again = run(challenge, out, protocol="click")
    assert untimed(again.rows) == untimed(fresh.rows)
    assert read_result(out).rows == again.rows


def test_a_case_that_left_the_challenge_is_in_no_figure(tmp_path):
    challenge = phantoms(tmp_path / "set")
    run(challenge, tmp_path / "out", protocol="click")
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder / "p2_a.nii.gz").unlink()
    again = run(challenge, tmp_path / "out", protocol="click")
    assert [row.case for row in again.rows] == ["p0_a", "p1_a"]
    assert read_result(tmp_path / "out").rows == again.rows


def test_a_finished_run_on_a_read_only_disk_is_read_and_a_new_one_refused_before_the_work(
    tmp_path, small_disk
):
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    challenge = phantoms(tmp_path / "set", 1)
    first = run(challenge, small_disk / "out", protocol="click")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert run(challenge, small_disk / "out", protocol="click").rows == first.rows

    def never():
        pytest.fail("no system is loaded where nothing can be written")

    with pytest.raises(FileError, match="cannot be written .Read-only"):
        run(challenge, small_disk / "new", never, protocol="click")
    correct(tmp_path / "set", "p0_a", 20.0)
    with pytest.raises(FileError, match="cannot be written .Read-only"):
        run(challenge, small_disk / "out", protocol="click")


def test_a_full_disk_is_one_line_and_a_start_with_room_goes_on(tmp_path, small_disk):
    challenge, out = phantoms(tmp_path / "set", 1), small_disk / "out"
    with pytest.raises(FileError, match="cannot be written .No space left"):
        run(challenge, out, protocol="click")
    assert not ((out / "result.json").exists() and (out / "report.html").exists())
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    done = run(challenge, out, protocol="click")
    assert untimed(done.rows) == untimed(run(challenge, tmp_path / "fresh", protocol="click").rows)
    assert not [*out.rglob(".*")]


@pytest.mark.slow
def test_kills_at_any_time_leave_no_stale_figure_and_nothing_behind(tmp_path):
    """Labels change between two truths, and each start is killed somewhere."""
    folder, out, chance = tmp_path / "set", tmp_path / "out", random.Random(3)
    challenge, radii = phantoms(folder, 2), {"p0_a": 12.0, "p1_a": 12.0}
    for case, radius_mm in radii.items():
        correct(folder, case, radius_mm)
    fork = multiprocessing.get_context("fork")
    right, stood, seconds = {}, 0, 0.0
    for number in range(KILLS):
        case = chance.choice(sorted(radii))
        radii[case] = 32.0 - radii[case]
        correct(folder, case, radii[case])
        now = tuple(radii.values())
        if now not in right:
            begun = time.perf_counter()
            fresh = run(challenge, tmp_path / f"fresh{len(right)}", protocol="box")
            right[now], seconds = untimed(fresh.rows), time.perf_counter() - begun
        started = fork.Process(target=run, args=(challenge, out), kwargs={"protocol": "box"})
        started.start()
        # The first dies at once and the last is left to end, so that both kinds are seen
        started.join({0: 0.0, KILLS - 1: None}.get(number, chance.uniform(0, 1.5 * seconds)))
        started.kill()
        started.join()
        if (out / "result.json").exists() and (out / "rows.csv").exists():
            stood += 1
            assert untimed(read_result(out).rows) == right[now]
    assert 0 < stood < KILLS
    again = run(challenge, out, protocol="box")
    assert untimed(again.rows) == right[tuple(radii.values())]
    assert not [*out.rglob(".*")] and not (out / "predictions").exists()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_without_warning_loses_the_cases_in_hand_and_no_more(tmp_path, processes):
    folder, out = tmp_path / "set", tmp_path / "out"
    write_challenge(folder, 6)
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    killed = start(script, folder, out, processes)
    deadline = time.monotonic() + 120
    while len(cases(out)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    time.sleep(2)  # whatever else it started has seen by now that it is alone
    before = {name: (out / "cases" / name).read_bytes() for name in cases(out)}
    assert 2 <= len(before) < 6
    again = start(script, folder, out, processes)
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert {name: (out / "cases" / name).read_bytes() for name in before} == before
    whole = start(script, folder, tmp_path / "whole", 1)
    output, _ = whole.communicate(timeout=240)
    assert whole.returncode == 0, output
    assert untimed(read_result(out).rows) == untimed(read_result(tmp_path / "whole").rows)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["processes", "torchrun", "accelerate"])
def test_several_processes_ask_about_each_case_once_and_all_are_in_the_result(tmp_path, by):
    folder, out = tmp_path / "set", tmp_path / "out"
    write_challenge(folder, 5)
    script = tmp_path / "slow.py"
    script.write_text(SLOW.replace("time.sleep(0.15)", 'print(self.scan.array.sum().item(), "asked")'))
    launchers = {
        "processes": (),
        "torchrun": (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        "accelerate": (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
    }
    done = start(script, folder, out, 2 if by == "processes" else 1, launcher=launchers[by])
    output, _ = done.communicate(timeout=240)
    assert done.returncode == 0, output
    assert cases(out) == [f"p{n}_a.json" for n in range(5)]
    whole = run(phantoms(tmp_path / "other", 5), tmp_path / "whole")
    assert untimed(read_result(out).rows) == untimed(whole.rows)
    assert output.count("asked") == sum(row.seconds > 0 for row in whole.rows)


def test_a_system_without_prompts_stands_beside_one_with_whatever_the_protocol(tmp_path):
    """It goes on where it stopped, and its prompts file holds the other's prompts alone."""
    challenge = phantoms(tmp_path / "set")
    whole = run(challenge, tmp_path / "whole", beside, protocol="clicks,box")
    named = run(challenge, tmp_path / "named", beside, protocol="automatic,clicks,box")
    assert untimed(whole.rows) == untimed(named.rows)
    bright = [row for row in whole.rows if row.system == "bright"]
    assert [(row.case, row.prompt) for row in bright] == [(f"p{n}_a", "automatic") for n in range(3)]
    figures = whole.result.summary["all"]["bright"]["automatic"]["dice"]
    assert figures["n"] == 3 and figures["ci95"][0] < figures["mean"] < figures["ci95"][1]
    assert "automatic" in whole.result.protocol and whole.result.notes == ()
    recorded = promptset.read(tmp_path / "whole" / "prompts.json")
    assert recorded.name == "clicks,box" and len(recorded.cases) == 3
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Without a prompt" in page and "Experts" in page

    kept = (tmp_path / "whole" / "cases" / "p0_a.json").read_bytes()
    (tmp_path / "whole" / "cases" / "p1_a.json").unlink()
    again = run(challenge, tmp_path / "whole", beside, protocol="clicks,box")
    assert untimed(again.rows) == untimed(whole.rows)
    assert (tmp_path / "whole" / "cases" / "p0_a.json").read_bytes() == kept


def test_prompts_are_replayed_beside_a_system_without_any(tmp_path):
    challenge = phantoms(tmp_path / "set")
    first = run(challenge, tmp_path / "first", beside, protocol="clicks,box")
    scripts = replays_of(promptset.read(tmp_path / "first" / "prompts.json"))
    again = run(challenge, tmp_path / "again", beside, scripts=scripts)
    assert untimed(again.rows) == untimed(first.rows)


def test_a_protocol_without_prompts_is_none_for_a_system_that_takes_them(tmp_path):
    with pytest.raises(ConfigError, match="growing supports box and point only"):
        run(phantoms(tmp_path / "set"), tmp_path / "out", growing, protocol="automatic")
