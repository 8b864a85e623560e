"""A row that was kept is there after any kill, those of other weights are left aside."""

import json

from benchmarks.mixture.m4oe.kept_rows import Rows
from tests.benchmarks.mixture.m4oe.rows import seen


def test_rows_are_read_back_and_a_cut_line_is_dropped(tmp_path):
    path = tmp_path / "run" / "rows.jsonl"
    first = Rows(path)
    for scan in ("b", "a"):
        first.add(seen(scan=scan))
    with path.open("a") as file:
        file.write('{"model": "auto", "sha')
    again = Rows(path)
    assert again.rows == first.rows and path.read_text().endswith("}\n")
    again.add(seen(scan="c"))
    assert [row.scan for row in Rows(path).of("auto", "0")] == ["a", "b", "c"]
    assert Rows(path).of("auto", "1") == [] and Rows(path).of("other", "0") == []


def test_a_file_that_holds_only_a_cut_line_is_empty(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"model"')
    assert Rows(path).rows == [] and path.read_text() == ""


def test_all_rows_move_in_the_order_of_their_scans_and_foreign_ones_come_last(tmp_path):
    kept = Rows(tmp_path / "run.jsonl")
    for own, scan in (("", "limb"), ("neck", "b"), ("neck", "a")):
        kept.add(seen(own=own, scan=scan))
    kept.move(tmp_path / "out.jsonl")
    assert not kept.path.exists()
    lines = [json.loads(line)["scan"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == ["a", "b", "limb"]
    assert [row.scan for row in Rows(tmp_path / "out.jsonl").of("auto", "0")] == lines


def test_a_scan_that_two_starts_kept_is_one_row(tmp_path):
    kept = Rows(tmp_path / "rows.jsonl")
    kept.add(seen(taken="neck"))
    kept.add(seen(taken="brain"))
    kept.add(seen(sha256="1"))
    again = Rows(kept.path)
    assert [row.taken for row in again.of("auto", "0")] == ["brain"] and len(again.rows) == 2
