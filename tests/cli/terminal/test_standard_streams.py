"""Streams that are closed, full or of a narrow encoding end no run: the mask is written all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; from sam_moe.cli import main; sys.exit(main())"


def shell(words, redirections, cwd, **env):
    """Run the command as a shell does, with redirections."""
    line = " ".join([f"'{sys.executable}' -c '{PROGRAM}'", *map(str, words), redirections])
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        line, shell=True, cwd=cwd, env=env, capture_output=True, text=True, errors="replace"
    )


def predicting(scan):
    return ("predict", scan, "--point 24 24 24", "--out m.nii.gz")


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing_but_what_is_shown(cards, scan, tmp_path, closed):
    ran = shell(predicting(scan), closed, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "m.nii.gz").is_file() and (tmp_path / "m.run.json").is_file()
    assert "internal error" not in ran.stderr + ran.stdout


@pytest.mark.slow
def test_a_full_disk_under_standard_output_is_one_line_and_ends_with_1_after_the_work(cards, scan, tmp_path):
    ran = shell((*predicting(scan), "--json"), "> /dev/full", tmp_path)
    assert ran.returncode == 1
    assert (tmp_path / "m.run.json").is_file()
    assert ran.stderr == (
        "sam-moe: standard output could not be written (No space left on device); "
        "what was to be shown is lost.\n"
    )


@pytest.mark.slow
def test_what_cannot_be_written_to_standard_error_is_no_failure(cards, scan, tmp_path):
    ran = shell(predicting(scan), "2> /dev/full", tmp_path)
    assert ran.returncode == 0 and "voxels" in ran.stdout
    ran = shell(("checkpoints", "show", "nothing"), "2> /dev/full", tmp_path)
    assert ran.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp874", "cp1252"])
def test_letters_that_the_output_lacks_are_escaped(cards, tmp_path, encoding):
    ran = shell(("checkpoints", "show", '"\'печень·"'), "", tmp_path, PYTHONIOENCODING=encoding)
    assert ran.returncode == 1
    assert "no model with id" in ran.stderr and "internal error" not in ran.stderr


@pytest.mark.parametrize(("text", "code"), [("", 0), ("abc", 1), ("0", 1)])
def test_a_number_of_processes_that_is_none_is_one_line(cards, tmp_path, text, code):
    ran = shell(("checkpoints", "list"), "", tmp_path, WORLD_SIZE=text)
    assert ran.returncode == code, ran.stderr
    assert ran.stderr.count("\n") == code
    assert code == 0 or "variable WORLD_SIZE is" in ran.stderr
