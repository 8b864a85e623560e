import pytest

from sam_moe.evaluation.report.tables import clicks, official, overview, parts
from sam_moe.evaluation.scoring.interactive import interactive
from sam_moe.evaluation.scoring.summary import summarise
from tests.evaluation.rows import cells_of, missing, row, study

TWO = study({"small": 0.0, "tiny": -0.2})


def test_the_overview_has_a_row_for_each_prompt_and_system():
    head, *rows = cells_of(overview(summarise(TWO)["all"], ["click1", "click3"]))
    assert head[:3] == ["last prompt", "system", "Dice\u00a0↑"]
    assert [row[:2] for row in rows] == [
        ["click1", "●\u00a0small"],
        ["", "●\u00a0tiny"],
        ["click3", "●\u00a0small"],
        ["", "●\u00a0tiny"],
    ]
    # Patients 0 to 5 have 0.40, 0.42, …, 0.50 after the first click.
    assert rows[0][2].startswith("0.450") and rows[0][2].endswith("median 0.450")
    assert rows[0][-2:] == ["12", "0"]


def test_the_best_of_each_column_is_marked():
    made = overview(summarise(TWO)["all"], ["click1"])
    best = [cell.text for cell in made.iter("td") if "best" in cell.get("class", "")]
    # HD95 is 10 (1 - Dice): small's lower one is better. VS and volume error tie, and none is best.
    assert best == ["0.450", "0.225", "5.5"]


def test_a_system_alone_is_not_the_best():
    made = overview(summarise(study({"small": 0.0}))["all"], ["click1"])
    assert [cell for cell in made.iter("td") if "best" in cell.get("class", "")] == []


def test_missed_targets_are_seen():
    made = overview(summarise([row(0.5), missing(case="b1", patient="b")])["all"], ["click1"])
    assert [one.text for one in made.iter("span") if one.get("class") == "bad"] == ["1"]


def test_structures_have_a_column_for_each_system():
    rows = [*TWO, row(0.9, system="peer", label="liver", case="case0", patient="p0", prompt="box")]
    made = parts(summarise(rows)["labels"], "structure", "click1", ["small", "tiny", "peer"])
    head, kidney, liver = cells_of(made)
    assert head == ["structure", "targets", "●\u00a0small", "●\u00a0tiny", "●\u00a0peer"]
    assert (kidney[:2], liver[:2]) == (["kidney", "6"], ["liver", "6"])
    assert kidney[2].startswith("0.450") and kidney[2].endswith("NSD 0.225")
    assert kidney[4] == liver[4] == "–"


@pytest.mark.parametrize("without", ["automatic", "given"])
def test_a_system_without_prompts_stands_beside_any(without):
    rows = [*TWO, row(0.9, system="peer", label="liver", case="case0", patient="p0", prompt=without)]
    made = parts(summarise(rows)["labels"], "structure", "click1", ["small", "tiny", "peer"])
    _, kidney, liver = cells_of(made)
    assert kidney[4] == "–" and liver[4].startswith("0.900")


def test_the_official_table_says_what_dropped_out():
    rows = [row(0.8, official={"hd95_mm": 4.0}), missing(case="b1", patient="b", official={"hd95_mm": None})]
    assert official(summarise(rows)["all"], ["click1"]) is not None
    head, (prompt, _, mean, median, counted) = cells_of(official(summarise(rows)["all"], ["click1"]))
    assert head == ["last prompt", "system", "HD95 (mm)\u00a0↓", "median", "counted"]
    assert (prompt, mean, median, counted) == ("click1", "4.0", "4.0", "1 of 2")


def test_without_official_figures_there_is_no_such_table():
    assert official(summarise(TWO)["all"], ["click1"]) is None


def test_figures_over_clicks_by_hand():
    # Dice 0.4, 0.5, 0.6 of the one structure: AUC 0.45 + 0.55 = 1, final 0.6; Dice 0.8 is never reached.
    rows = [one for one in study({"small": 0.0}, patients=1) if one.label == "liver"]
    head, cells = cells_of(clicks(interactive(rows)))
    found = dict(zip(head, cells, strict=True))
    assert found["prompts"] == "click × 3"
    assert (found["Dice AUC"], found["Dice final"]) == ("1.000", "0.600")
    assert found["clicks to Dice 0.8"] == "4.000% reach it"


@pytest.mark.parametrize("nothing", [{}, {"small": {}}])
def test_without_clicks_there_are_no_figures_over_them(nothing):
    assert clicks(nothing) is None
