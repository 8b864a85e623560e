"""The script on a tiny model: killed it goes on, finished it begins anew, --again needs no scan."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.cases import ROOT
from benchmarks.mixture.m4oe.figures import Figure
from benchmarks.mixture.reproduce_m4oe import as_csv, timed_before
from tests.benchmarks.mixture.m4oe.tiny import write_challenge, write_data
from tests.systems.m4oe.automatics import write_automatic


@pytest.fixture
def command(tmp_path):
    write_data(tmp_path / "data")
    words = [sys.executable, "-m", "benchmarks.mixture.reproduce_m4oe", "--known-only", "--processes", "1"]
    words += ["--models", write_automatic(tmp_path / "model").folder, "--out", tmp_path / "out"]
    return [*map(str, words), "--run", str(tmp_path / "run"), "--challenge", str(write_challenge(tmp_path))]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(command, *words):
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
    )


@pytest.mark.slow
def test_killed_it_goes_on_and_again_makes_the_same_tables(command, tmp_path):
    rows = tmp_path / "run" / "reproduce_m4oe.jsonl"
    first = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while first.poll() is None and not (rows.is_file() and rows.read_text().count("\n")):
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = rows.read_text().splitlines() if rows.is_file() else []
    done = run(command)
    out = tmp_path / "out"
    kept = [json.loads(line) for line in (out / "reproduce_m4oe.jsonl").read_text().splitlines()]
    assert [row["scan"] for row in kept] == ["brain-d", "brain-e", "neck-d", "neck-e"]
    assert not rows.exists()  # the next start begins anew
    assert {json.loads(line)["scan"] for line in before if line.endswith("}")} <= {
        row["scan"] for row in kept
    }
    assert "auto: 0.0" in done.stdout and "hippocampus" in done.stdout and "missed" in done.stdout
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["models"] == ["auto"] and last["wall_seconds"] >= 0
    assert (out / "m4oe_routing_auto.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "m4oe_routing_auto.csv").read_text().startswith("place,modality,slices,ct,mr,nats,shuffled")
    table = list(csv.DictReader((out / "reproduce_m4oe.csv").read_text().splitlines()))
    assert {"met", "missed"} >= {row["verdict"] for row in table if row["asked"]}

    again = run(command, "--again")
    assert again.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert json.loads(again.stdout.splitlines()[-1])["wall_seconds"] is None


def test_seconds_are_those_that_were_measured(tmp_path):
    path = tmp_path / "table.csv"
    measured = Figure("auto", "seconds, a, 2 x 2 x 2 voxels, 2 cores", 2.0, 1.25, least=False)
    assert timed_before(path, "auto") == []
    path.write_text(as_csv([Figure("auto", "structures at Dice 0", 0, 1.0, least=False), measured]))
    assert timed_before(path, "auto") == [measured] and timed_before(path, "other") == []


@pytest.mark.slow
def test_rows_of_other_weights_are_not_taken(command, tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as none:
        run(command, "--again")
    assert "no rows of these weights of auto" in none.value.stderr
