"""The committed table of the shipped weights is that of the committed answers; a job is a scan."""

import json
from dataclasses import replace

import pytest

from benchmarks.cases import ROOT
from benchmarks.quality import blocks, tables, tools, weights
from benchmarks.quality.answer_files import read_answers

RESULTS = ROOT / "benchmarks" / "results" / "quality"
LIVER = blocks.Target(blocks.GENERAL, "a", "1", "1", "liver", "liver", (1,), 100)


@pytest.fixture(scope="module")
def rows():
    return read_answers(weights.KEPT, lambda target, tool, score, _: tools.Row(target, tool, score))


@pytest.fixture(scope="module")
def printed():
    return (RESULTS / "weights.txt").read_text("utf-8")


def test_every_committed_dice_is_that_of_the_committed_answers(rows, printed):
    """But LiteMedSAM, which is too slow to be asked again, and seconds."""
    found, stored = weights.figures(rows), json.loads(printed.splitlines()[-1])
    moved = {key for key in found if found[key] != stored[key]}
    assert moved == {"margin_over_litemedsam", "seconds"}
    assert stored.keys() - found.keys() == {"part", "wall_seconds"}


def test_every_line_of_the_table_but_seconds_is_in_the_committed_one(rows, printed):
    lines = [line for line in tables.table(rows) if line and not line.startswith("seconds")]
    # The committed table has a column more, LiteMedSAM's, in the first block.
    later = lines[next(n for n, line in enumerate(lines) if line.startswith(blocks.OTHER.upper())) :]
    assert len(later) > 40 and [line for line in later if line not in printed] == []


def test_every_target_was_answered_by_every_tool_that_takes_its_prompts(rows):
    prompts = {}
    for row in rows:
        prompts.setdefault((row.target, row.tool), []).append(row.score.prompt)
    targets = {row.target for row in rows}
    assert len(targets) == 179
    for target in targets:
        assert prompts[target, tools.OURS] == [*(f"click{n}" for n in range(1, 6)), "box"]
        assert prompts[target, tools.ELLIPSOID] == prompts[target, tools.CUT] == ["box"]


def test_a_scan_is_one_job_with_its_general_structures_first():
    other = replace(LIVER, block=blocks.OTHER, structure="heart")
    chosen = [other, LIVER, replace(LIVER, case="2")]
    assert weights._by_scan(chosen) == [[LIVER, other], [replace(LIVER, case="2")]]


def test_prompts_in_the_json_line_are_those_the_tool_takes():
    assert weights._prompts(tools.GROWING) == weights._prompts(tools.WALKER) == ("click1", "click5")
    assert weights._prompts(tools.ELLIPSOID) == ("box",)
