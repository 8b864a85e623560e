"""Answers are read back as they were kept, and a table is made of them again."""

import pytest

from benchmarks.mixture import answers as mixture
from benchmarks.mixture import tables
from benchmarks.quality import answer_files, blocks, protocol, tools

TARGET = blocks.Target(blocks.GENERAL, "set", "case", "patient", "kidney_left", "kidneys", (2, 3), 100)
OTHER = blocks.Target(blocks.ZERO_SHOT, "set", "case", "patient", "esophagus", "esophagus CT", (4,), 90)


def test_rows_come_back_to_six_digits_with_their_targets(tmp_path):
    rows = [
        tools.Row(TARGET, "ours", protocol.Score("click1", 0.12345678, 1.0)),
        tools.Row(OTHER, "ours", protocol.Score("box", 1.0, 0.0, idle=True)),
        tools.Row(OTHER, "walker", protocol.Score("box", 0.0, 0.25, refused=True)),
    ]
    path = tmp_path / "rows.jsonl"
    answer_files.write_answers(path, rows, lambda row: (row.tool, {}))
    found = answer_files.read_answers(path, lambda target, tool, score, _: tools.Row(target, tool, score))
    assert [(row.target, row.tool) for row in found] == [(row.target, row.tool) for row in rows]
    assert found[0].score.dice == pytest.approx(0.12345678, abs=1e-6)
    assert found[1:] == rows[1:]
    assert len(path.read_text().splitlines()) == 2


def test_what_a_gate_did_is_kept_too(tmp_path):
    shares = {"experts": {"small": 0.25, "esophagus": 0.75}, "confidence": {"small": 0.1}}
    answers = [
        mixture.Answer(TARGET, "general", protocol.Score("click1", 0.5, 1.0)),
        mixture.Answer(
            OTHER,
            "mixture",
            protocol.Score("click1", 0.5, 1.0),
            **shares,
            general_alone=False,
            same_bits=True,
        ),
    ]
    answer_files.write_answers(tmp_path / "reproduce.jsonl", answers, tables.record_of)
    assert tables.read_answers(tmp_path / "reproduce.jsonl") == answers
