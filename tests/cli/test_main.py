"""How runs end: exit codes, one line for what went wrong, and no noise."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sam_moe.files.locking import locked
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


def test_what_is_done_ends_with_0(sam_moe, cards):
    ran = sam_moe("checkpoints", "list")
    assert (ran.code, ran.err) == (0, "")


def test_without_a_word_it_shows_the_help(sam_moe):
    ran = sam_moe()
    assert ran.code == 0
    assert ran.out.startswith("Usage: sam-moe ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("predict", "sam-moe: missing argument 'SCAN'. See `sam-moe predict --help`.\n"),
        ("predict s.nii --out m.nii", "sam-moe: no prompt. Show the target with --point I J K or"),
        ("predict s.nii --point 1 2 3", "sam-moe: missing option '--out'. See"),
        ("predict s.nii --out m.nii --pont 1 2 3", "sam-moe: no such option: --pont"),
        ("predict s.nii --out m.nii --point 1 2", "sam-moe: --point takes three numbers"),
        (
            "predict s.nii --out m.nii --box 3 1 1 1 2 2",
            "sam-moe: box from (3, 1, 1) to (1, 2, 2) is inverted along axis 0",
        ),
        ("predict s.nii --out m.nii --point 1 2 3 --prompts p.json", "both --prompts and points or boxes"),
        ("predct", "sam-moe: no such command 'predct'"),
        ("checkpoints show", "sam-moe: missing argument"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_line(sam_moe, words, complaint):
    ran = sam_moe(*words.split())
    assert ran.code == 2
    assert complaint in ran.err
    assert "--help`." in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_what_failed_ends_with_1_and_one_line(sam_moe, cards, tmp_path):
    ran = sam_moe("predict", tmp_path / "none.nii", "--point", 1, 2, 3, "--out", tmp_path / "m.nii")
    assert ran.code == 1
    assert ran.err == f"sam-moe: {tmp_path}/none.nii: no such file. Give the path of an existing file.\n"


@pytest.mark.parametrize("place", [0, 1, -1])
def test_debug_anywhere_shows_the_trace_and_then_the_line(sam_moe, cards, place):
    words = ["checkpoints", "show", "nothing"]
    words.insert(place, "--debug")
    ran = sam_moe(*words)
    assert ran.code == 1
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[-1].startswith("sam-moe: no model with id 'nothing'")


def test_an_unforeseen_error_is_one_line_that_asks_for_a_report(sam_moe, cards, scan, tmp_path):
    words = ["predict", scan, "--point", 24, 24, 24, "--out", tmp_path / "m.nii", "--device", "meta"]
    ran = sam_moe(*words)
    assert ran.code == 1
    assert ran.remarks.startswith("sam-moe: internal error, ")
    assert ran.remarks.endswith("please run again with --debug and report the trace\n")
    assert ran.remarks.count("\n") == 1
    assert "Traceback" in sam_moe(*words, "--debug").err


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_one_line(process, cards, tmp_path):
    """An evaluation waits for the lock of its result, which the test holds, until it is interrupted."""
    scan = Volume(torch.randn(20, 20, 20), Grid(np.eye(4), (20, 20, 20)))
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    write_volume(tmp_path / "images" / "a.nii.gz", scan)
    write_mask(tmp_path / "labels" / "a.nii.gz", scan.array > 1, scan.grid)
    challenge = tmp_path / "challenge.yaml"
    challenge.write_text("{name: c, sets: [{layout: folders, root: .}], labels: {one: [1]}}")
    cases = tmp_path / "out" / "cases"
    cases.mkdir(parents=True)
    with locked(cases / ".result.lock"):
        words = (challenge, "--system", DEFAULT_MODEL, "--out", tmp_path / "out", "--force")
        running = process("evaluate", *words)
        while not (tmp_path / "out" / "asked.json").is_file():
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        seen, err = running.communicate(timeout=60)
    assert (running.returncode, seen) == (130, "")
    assert err.splitlines()[-1] == "sam-moe: interrupted" and "Traceback" not in err
    assert [path.name for path in cases.iterdir()] == [".result.lock"]


def test_a_path_that_the_system_refuses_is_one_line(sam_moe, tmp_path):
    ran = sam_moe("compare", "x" * 5000, tmp_path)
    assert ran.code == 1
    assert "(File name too long). Check path" in ran.err.splitlines()[-1] and "internal" not in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["checkpoints", "list"]])
def test_a_reader_that_goes_away_is_met_with_silence(process, cards, words):
    reader, writer = os.pipe()
    os.close(reader)
    running = process(*words, stdout=writer)
    os.close(writer)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (1, "")


@pytest.mark.parametrize("processes", [1, 2])
def test_one_of_several_processes_ends_at_once_with_all_it_wrote(processes, cards):
    """What Python does at its very end, printing here, is left out; the exit code is kept."""
    script = (
        "import atexit, sys; atexit.register(print, 'late'); from sam_moe.cli import main; sys.exit(main())"
    )
    env = {**os.environ, "WORLD_SIZE": str(processes)}
    for words, code in ((("checkpoints", "list"), 0), (("predct",), 2)):
        ran = subprocess.run([sys.executable, "-c", script, *words], env=env, capture_output=True, text=True)
        assert ran.returncode == code
        assert ("late" in ran.stdout) == (processes == 1)
        assert ("no such command" in ran.stderr) == (code == 2)
