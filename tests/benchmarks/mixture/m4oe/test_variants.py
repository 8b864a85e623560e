"""Variants are trained one after another, unattended: what is finished is not trained again."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.cases import ROOT
from benchmarks.mixture.m4oe.training import RECORD, Record
from benchmarks.mixture.m4oe.variants import table, timed
from tests.benchmarks.mixture.m4oe.tiny import write_recipe


def run(module, folder, *words):
    command = [sys.executable, "-m", f"benchmarks.mixture.m4oe.{module}", "--recipe", folder / "recipe.yaml"]
    command += ["--data", folder / "data", "--out", folder / "runs", "--results", folder / "results"]
    command += ["--steps", "4", "--seeds", "0", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )


@pytest.mark.slow
def test_trainings_are_recorded_and_skipped_once_finished(tmp_path):
    write_recipe(tmp_path)
    done = run("variants", tmp_path, "--only", "hard", "plain", "gate")
    records = json.loads((tmp_path / "results" / "m4oe_variants_auto.json").read_text())
    assert [record["name"] for record in records] == ["hard", "plain", "gate", "plain-timed"]
    for record in records[:3]:
        assert record["steps"] == 4 and record["parameters"] > 0 and record["processor_s"] >= 0
        for part in ("validation", "test"):
            assert set(record[part]) == {
                *("neck", "neck/cord", "neck/larynx", "brain", "brain/hippocampus", "score")
            }
    assert [record["nats"] is None for record in records] == [True, True, False, True]
    assert records[2]["nats"] >= 0 and records[2]["shuffled"] >= 0
    assert "| hard | 0 |" in done.stdout and "plain-timed: `plain` for the processor time" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == {"recipe": "auto", "steps": 4, "trainings": 4}

    kept = (tmp_path / "runs" / "auto" / "hard-0" / RECORD).read_bytes()
    weights = tmp_path / "runs" / "auto" / "hard-0" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    again = run("variants", tmp_path, "--only", "hard", "plain", "gate")
    assert "%" not in again.stderr  # nothing was trained
    assert (tmp_path / "runs" / "auto" / "hard-0" / RECORD).read_bytes() == kept
    assert weights.stat().st_mtime_ns == written

    with pytest.raises(subprocess.CalledProcessError) as other:
        run("variants", tmp_path, "--only", "hard", "--steps", "6")
    assert "was begun by another recipe" in other.value.stderr


@pytest.mark.slow
def test_an_unknown_variant_is_refused_with_the_known_ones(tmp_path):
    write_recipe(tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as unknown:
        run("variants", tmp_path, "--only", "soft")
    assert "unknown: soft. Known: hard, dense" in unknown.value.stderr


def record(name, processor_s, steps=100, **dice):
    return Record(
        name, 0, steps, 2_000_000, processor_s, {50: 0.9, 100: 0.5}, dice, {"neck": 0.25, "score": 0.25}
    )


def test_the_plain_network_of_equal_time_has_as_many_steps_as_the_time_allows():
    base = {"card": {"id": "x"}}
    assert timed(base, [record("hard", 60.0)], 0) is None
    assert timed(base, [record("hard", 60.0), record("plain", 40.0)], 1) is None


def test_the_table_has_losses_and_dice_of_both_parts():
    lines = table([record("hard", 60.4, neck=0.5, score=0.5)])
    assert lines[0] == (
        "| variant | seed | parameters | processor s | loss 50 | loss 100 "
        "| validation neck | validation mean | test neck | test mean | nats | shuffled |"
    )
    assert lines[2] == "| hard | 0 | 2.00 M | 60 | 0.900 | 0.500 | 0.500 | 0.500 | 0.250 | 0.250 | – | – |"
    assert lines[-1] == "hard: experts, each slice answered by its data set's"
    assert table([]) == []
