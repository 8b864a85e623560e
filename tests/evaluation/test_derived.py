"""What follows from cases is believed only as theirs, and is gone before one of them changes."""

import pytest

from sam_moe.errors import FileError
from sam_moe.evaluation.asking.casefile import case_path
from sam_moe.evaluation.derived import digest_of, forget, standing, tidy, withdraw_result
from sam_moe.evaluation.results import Result, write_result
from tests.evaluation.rows import row

FOLLOWS = ("rows.csv", "result.json", "report.html", "prompts.json")


@pytest.fixture
def out(tmp_path):
    """A finished evaluation of the cases a and b."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "asked.json").write_text("{}")
    for case in "ab":
        case_path(tmp_path, case).write_text(f"the answers about {case}")
    result = Result(made_from=digest_of(tmp_path, "ab"))
    write_result(tmp_path, [row()], result)
    (tmp_path / "report.html").write_text("a page")
    return tmp_path


def test_a_result_stands_as_long_as_its_cases_do(out):
    found = standing(out, [row()], digest_of(out, "ab"))
    assert found is not None and found.rows == (row(),)
    assert standing(out, [row(0.4)], digest_of(out, "ab")) is None  # other rows
    assert standing(out, [row()], digest_of(out, "a")) is None  # another challenge
    assert standing(out, [row()], digest_of(out, "ab", "other masks")) is None
    case_path(out, "b").write_text("corrected answers")
    assert standing(out, [row()], digest_of(out, "ab")) is None


@pytest.mark.parametrize("name", ["rows.csv", "result.json", "report.html"])
def test_without_one_of_its_files_or_with_a_spoilt_one_no_result_stands(out, name):
    if name != "report.html":
        (out / name).write_text("spoilt")
        assert standing(out, [row()], digest_of(out, "ab")) is None
    (out / name).unlink()
    assert standing(out, [row()], digest_of(out, "ab")) is None


def test_what_follows_is_withdrawn_and_the_cases_stay(out):
    (out / "prompts").mkdir()
    (out / "prompts" / "small.json").write_text('{"description": "box; seed 0.", "cases": []}')
    (out / "prompts" / "mine.json").write_text('{"format": 1, "cases": []}')  # of a person's own
    (out / "prompts" / "five.json").write_text("5")
    (out / "prompts.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    withdraw_result(out)
    assert not any((out / name).exists() for name in FOLLOWS)
    assert sorted(path.name for path in (out / "prompts").iterdir()) == ["five.json", "mine.json"]
    assert case_path(out, "a").is_file() and (out / "notes.txt").is_file()


def test_writing_a_result_withdraws_the_older_record_and_page_first(out):
    """The disk is full while rows are written: no older record or page is left to be believed."""
    (out / "rows.csv").unlink()
    (out / "rows.csv").mkdir()  # what cannot be replaced
    with pytest.raises(FileError, match="rows.csv"):
        write_result(out, [row(0.4)], Result())
    assert not (out / "result.json").exists() and not (out / "report.html").exists()


def test_a_case_that_is_asked_about_anew_keeps_no_mask(out):
    kept = out / "predictions" / "small"
    kept.mkdir(parents=True)
    for name in ("a.nii.gz", "a.labels.json", "b.nii.gz"):
        (kept / name).write_text("")
    forget(out, ["a"])
    assert [path.name for path in kept.iterdir()] == ["b.nii.gz"]
    assert not case_path(out, "a").exists() and case_path(out, "b").exists()


def test_what_the_dead_left_is_cleared(out):
    (out / "predictions" / "small").mkdir(parents=True)
    for folder in (out, out / "cases", out / "predictions" / "small"):
        (folder / ".sam-moe-0123").mkdir()
        (folder / ".sam-moe-0123" / "half").write_text("")
    (out / "cases" / ".a.json.lock").write_text("")
    tidy(out, finished=False)
    assert [path.name for path in out.rglob(".*")] == [".a.json.lock"]
    tidy(out, finished=True)
    assert not [*out.rglob(".*")] and (out / "predictions").is_dir()
    tidy(out, finished=True, passing=["small"])
    assert not (out / "predictions").exists()
