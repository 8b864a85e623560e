"""A set added to a finished model leaves every old tensor as it was, and the table has both."""

import json
import subprocess

import pytest

from benchmarks.mixture.m4oe.forgetting import changed_tensors, table
from benchmarks.mixture.m4oe.training import Record
from tests.benchmarks.mixture.m4oe.test_variants import run
from tests.benchmarks.mixture.m4oe.tiny import write_recipe, write_recipe_of_three


@pytest.mark.slow
def test_an_added_set_leaves_the_old_ones_as_they_were(tmp_path):
    write_recipe_of_three(tmp_path)
    done = run("forgetting", tmp_path, "--added", "brain")
    assert "old tensors that differ after adding: 0" in done.stdout
    assert "| brain | – |" in done.stdout and "| neck | 0." in done.stdout
    folder = tmp_path / "runs" / "auto" / "adding-brain"
    assert changed_tensors(folder / "before-0", folder / "together-0") != []
    records = json.loads((tmp_path / "results" / "m4oe_forgetting_auto.json").read_text())
    assert [record["name"] for record in records] == ["before", "added", "together"]
    assert set(records[0]["test"]) == {"neck", "neck/cord", "neck/larynx", "belly", "belly/liver", "score"}


@pytest.mark.slow
def test_two_experts_are_too_few_to_add_one_to_the_rest(tmp_path):
    write_recipe(tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as few:
        run("forgetting", tmp_path)
    assert "expected three experts or more" in few.value.stderr


def record(name, **test):
    return Record(name, 0, 4, 10, 1.0, {}, {}, test)


def test_the_table_by_hand():
    records = [
        record("before", neck=0.5, score=0.5),
        record("added", neck=0.49, brain=0.25, score=0.37),
        record("together", neck=0.6, brain=0.5, score=0.55),
    ]
    assert table(records, 0, "brain")[3:] == [
        "| neck | 0.500 | 0.490 | -0.010 | 0.600 |",
        "| brain | – | 0.250 | – | 0.500 |",
    ]
