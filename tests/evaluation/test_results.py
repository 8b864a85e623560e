import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import FileError
from sam_moe.evaluation.results import (
    METRICS,
    Result,
    Row,
    read_result,
    read_rows,
    write_result,
    write_rows,
)

PLAIN = Row(
    system="small",
    case="a1",
    patient="a",
    label="liver",
    prompt="click1",
    step=0,
    status="ok",
    dice=0.5,
    nsd=0.25,
    vs=1,
    hd95_mm=12.5,
    volume_error_ml=3,
    truth_ml=20,
    predicted_ml=17,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
SHARE = st.floats(0, 1)
AMOUNT = st.floats(0, 1e300)
ROWS = st.builds(
    Row,
    system=TEXT,
    case=TEXT,
    patient=TEXT,
    label=TEXT,
    strata=st.dictionaries(KEYS, KEYS, max_size=2),
    prompt=TEXT,
    step=st.integers(0, 9),
    status=st.sampled_from(["ok", "empty", "missing", "extra"]),
    reason=TEXT,
    dice=SHARE,
    nsd=SHARE,
    vs=SHARE,
    hd95_mm=AMOUNT,
    volume_error_ml=AMOUNT,
    truth_ml=AMOUNT,
    predicted_ml=AMOUNT,
    official=st.dictionaries(st.sampled_from(["dice", "hd95_mm", "vs"]), st.none() | SHARE),
    seconds=st.none() | AMOUNT,
    answered=st.dictionaries(KEYS, SHARE, max_size=2),
    confidence=st.dictionaries(KEYS, SHARE, max_size=2),
)


@given(rows=st.lists(ROWS, max_size=4))
def test_rows_come_back_equal_to_the_last_bit(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(path, rows)
    assert list(read_rows(path)) == rows


def test_a_dictionary_is_a_column_for_each_key(tmp_path):
    rows = [
        PLAIN.model_copy(update={"strata": {"modality": "MR"}, "official": {"dice": 0.5, "hd95_mm": None}}),
        PLAIN.model_copy(update={"answered": {"general": 0.75, "liver": 0.25}}),
    ]
    write_rows(tmp_path / "rows.csv", rows)
    first, second, third = (tmp_path / "rows.csv").read_text("utf-8").splitlines()
    assert first == (
        "system,case,patient,label,stratum.modality,prompt,step,status,reason,dice,nsd,vs,hd95_mm,"
        "volume_error_ml,truth_ml,predicted_ml,official.dice,official.hd95_mm,seconds,"
        "answered.general,answered.liver"
    )
    assert second == "small,a1,a,liver,MR,click1,0,ok,,0.5,0.25,1.0,12.5,3.0,20.0,17.0,0.5,null,,,"
    assert third == "small,a1,a,liver,,click1,0,ok,,0.5,0.25,1.0,12.5,3.0,20.0,17.0,,,,0.75,0.25"


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1", "-1", "=cmd|' /C calc'!A0", "\t=1", "'=1"])
def test_no_cell_begins_like_a_formula_and_all_text_comes_back(tmp_path, text):
    named = {"system": text, "case": text, "patient": text, "label": text, "reason": text}
    rows = [PLAIN.model_copy(update={**named, "strata": {"site": text}})]
    write_rows(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert list(read_rows(tmp_path / "rows.csv")) == rows


def test_a_group_without_a_name_is_none():
    assert Row.model_validate({**PLAIN.model_dump(), "strata": {"site": ""}}).strata == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.25", "nan", 1), "line 2: nsd: Input should be a finite number"),
        (lambda text: text.replace("0.25", "25", 1), "line 2: nsd: Input should be less than or equal to 1"),
        (lambda text: text.replace("nsd", "nsdd", 1), "did you mean 'nsd'"),
        (lambda text: text.replace(",ok,", ",fine,", 1), "line 2: status: Input should be 'ok', 'empty'"),
        (lambda text: text[: len(text) - 15], "fewer cells than the first line has columns"),
        (lambda text: text.rstrip("\n") + ",1\n", "more cells than the first line has columns"),
        (lambda text: "", "empty"),
    ],
)
def test_a_malformed_file_is_refused_by_line_and_column(tmp_path, change, message):
    path = tmp_path / "rows.csv"
    write_rows(path, [PLAIN])
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    with pytest.raises(FileError, match=message) as caught:
        read_rows(path)
    assert str(path) in str(caught.value)


def test_what_a_spreadsheet_saves_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    write_rows(path, [PLAIN])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_rows(path) == (PLAIN,)


def test_an_extra_file_is_no_case_and_all_but_ok_is_missed():
    by = {
        status: PLAIN.model_copy(update={"status": status}) for status in ("ok", "empty", "failed", "extra")
    }
    assert [row.missed for row in by.values()] == [False, True, True, True]
    assert [row.counts for row in by.values()] == [True, True, True, False]


def test_a_result_folder_comes_back_whole(tmp_path):
    result = Result(
        challenge={"name": "organs", "sets": [{"root": "x"}]},
        command=["sam-moe", "evaluate"],
        definitions={"dice": "2 |A and B| / (|A| + |B|)"},
        summary={"small": {"click1": {"dice": {"mean": 0.5, "ci95": None}}}},
    )
    write_result(tmp_path / "new" / "out", [PLAIN], result)
    found = read_result(tmp_path / "new" / "out")
    assert (found.rows, found.result) == ((PLAIN,), result)
    assert json.loads((found.path / "result.json").read_text("utf-8"))["challenge"]["name"] == "organs"


def test_a_figure_is_a_line_of_the_record(tmp_path):
    figures = {"mean": 0.5, "ci95": [0.25, 0.75], "sd": None}
    write_result(tmp_path, [], Result(summary={"all": {"small": {"dice": figures, "nsd": figures}}}))
    lines = (tmp_path / "result.json").read_text("utf-8").splitlines()
    assert '        "dice": {"mean": 0.5, "ci95": [0.25, 0.75], "sd": null},' in lines


def test_a_folder_that_holds_no_result_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"it has no rows\.csv"):
        read_result(tmp_path)
    write_rows(tmp_path / "rows.csv", [PLAIN])
    with pytest.raises(FileError, match=r"result\.json: no such file"):
        read_result(tmp_path)


def test_shares_are_better_high_and_errors_low():
    assert [name for name, metric in METRICS.items() if metric.higher_is_better] == ["dice", "nsd", "vs"]
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == [
        "hd95_mm",
        "volume_error_ml",
    ]
    assert METRICS.keys() <= Row.model_fields.keys()
