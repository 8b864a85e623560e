import json
from pathlib import Path

import pytest

from sam_moe.errors import ConfigError
from sam_moe.evaluation.compare.comparison import compare
from sam_moe.evaluation.results import Result, ResultFolder
from tests.evaluation.rows import missing, row, study


def folder(rows, name="one", **record):
    return ResultFolder(Path(name), tuple(rows), Result(**record))


def ranks(found, prompt, rule="rank-then-aggregate"):
    (standing,) = [one for one in found.standings if one.prompt == prompt]
    (ranking,) = [one for one in standing.rankings if one.scheme.name == rule]
    return dict(zip(ranking.systems, ranking.ranks.tolist(), strict=True))


def test_systems_of_two_results_are_ranked_after_the_first_and_the_last_prompt():
    found = compare([folder(study({"a": 0.1, "b": 0.0})), folder(study({"c": 0.2}), "two")], resamples=50)
    assert (found.systems, found.targets, found.patients) == (("a", "b", "c"), 12, 6)
    assert [standing.prompt for standing in found.standings] == ["click1", "click3"]
    assert ranks(found, "click3") == {"c": 1, "a": 2, "b": 3}
    assert found.standings[0].means["c"]["dice"] == pytest.approx(0.65)
    assert found.sources == {"a": "one", "b": "one", "c": "two"}


def test_least_is_best_where_errors_are_compared():
    near = [row(0.5, case=str(n), patient=str(n), system="near", hd95_mm=n + 1.0) for n in range(4)]
    far = [row(0.5, case=str(n), patient=str(n), system="far", hd95_mm=n + 2.0) for n in range(4)]
    found = compare([folder([*far, *near])], ["hd95_mm"], resamples=20)
    assert ranks(found, "click1") == {"far": 2, "near": 1}
    (pair,) = found.standings[0].pairs
    assert (pair.one, pair.other, pair.difference) == ("far", "near", 1.0)


def test_a_missing_answer_counts_with_the_worst_values():
    full = [row(0.3, case=str(n), patient=str(n), system="full") for n in range(4)]
    gaps = [row(0.9, case=str(n), patient=str(n), system="gaps") for n in range(3)]
    gaps.append(missing(case="3", patient="3", system="gaps"))
    found = compare([folder([*full, *gaps])], ["dice"], resamples=20)
    assert found.standings[0].missed == {"full": 0, "gaps": 1}
    assert found.standings[0].means["gaps"]["dice"] == pytest.approx(0.675)
    # Ranks by target: gaps 1 1 1 2, full 2 2 2 1.
    (ranking, *_) = found.standings[0].rankings
    assert ranking.scores.tolist() == [1.75, 1.25]


def test_extra_files_do_not_count():
    extra = row(1.0, system="a", case="stranger", status="extra", patient="", label="")
    plain = compare([folder(study({"a": 0.1, "b": 0.0}))], resamples=20)
    assert compare([folder([*study({"a": 0.1, "b": 0.0}), extra])], resamples=20).as_json() == plain.as_json()


def test_one_system_of_two_results_is_told_apart_by_its_folder():
    found = compare(
        [folder(study({"small": 0.0}), "old/x"), folder(study({"small": 0.1}), "new/y")], resamples=20
    )
    assert found.systems == ("small (x)", "small (y)")
    twins = [folder(study({"small": 0.0}), "old/x"), folder(study({"small": 0.1}), "new/x")]
    assert compare(twins, resamples=20).systems == ("small (x)", "small (new/x)")


@pytest.mark.parametrize("without", ["given", "automatic"])
def test_answers_without_a_prompt_stand_beside_a_prompt_that_is_asked_for(without):
    given = [one.model_copy(update={"prompt": without}) for one in study({"theirs": 0.3}, clicks=1)]
    results = [folder(study({"ours": 0.0})), folder(given, "two")]
    with pytest.raises(
        ConfigError, match=f"ours and theirs were not asked alike: click1, click2, click3 and {without}"
    ):
        compare(results)
    found = compare(results, prompts=["click3"], resamples=20)
    assert ranks(found, "click3") == {"theirs": 1, "ours": 2}


def changed(rows, **changes):
    return [*rows[:-1], rows[-1].model_copy(update=changes)]


OTHERS = study({"b": 0.0}, clicks=1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "only a to compare"),
        (OTHERS[:-1], "only a has liver in case5"),
        (changed(OTHERS, case="case9"), "only a has liver in case5; only b has liver in case9"),
        (OTHERS[:4], r"only a has kidney in case2, liver in case2, kidney in case3 and 5 more"),
        (changed(OTHERS, truth_ml=7.0), "liver in case5 has 300 ml in the truth of a and 7 ml in that of b"),
        (changed(OTHERS, patient="x"), "case5 is of patient 'p5' in the result of a and of 'x' in that of b"),
        ([*OTHERS, OTHERS[0]], "b has two answers to 'click1' about kidney in case0"),
        (changed(OTHERS, prompt="box"), "a and b were not asked alike: click1 and box, click1"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(rows, message):
    with pytest.raises(ConfigError, match=message):
        compare([folder(study({"a": 0.1}, clicks=1)), folder(rows, "two")], resamples=20)


def test_other_definitions_are_refused_where_they_are_compared_by():
    at_2 = folder(study({"a": 0.1}), definitions={"nsd": "at 2 mm"})
    at_5 = folder(study({"b": 0.1}), "two", definitions={"nsd": "at 5 mm"})
    with pytest.raises(ConfigError, match="nsd is not the same in one and two: 'at 2 mm' and 'at 5 mm'"):
        compare([at_2, at_5])
    assert compare([at_2, at_5], ["dice"], resamples=20).definitions == {}


def test_a_prompt_or_metric_that_nobody_knows_is_refused():
    both = folder(study({"a": 0.1, "b": 0.0}))
    with pytest.raises(ConfigError, match="a was not asked 'box', only click1, click2, click3"):
        compare([both], prompts=["box"])
    with pytest.raises(ConfigError, match="metric 'dise' is not known; did you mean 'dice'"):
        compare([both], ["dise"])


def test_systems_that_were_asked_otherwise_can_be_left_out():
    boxed = [one.model_copy(update={"prompt": "box"}) for one in study({"ellipsoid": 0.3}, clicks=1)]
    whole = [folder([*study({"a": 0.1, "b": 0.0}), *boxed])]
    with pytest.raises(ConfigError, match=r"ellipsoid was not asked 'click3', only box.*--system"):
        compare(whole, prompts=["click3"])
    assert compare(whole, only=["b", "a"], resamples=20).systems == ("b", "a")
    with pytest.raises(
        ConfigError, match="no system 'c' in these results. Expected some of: a, b, ellipsoid"
    ):
        compare(whole, only=["c", "a"])


def test_the_same_folder_twice_is_refused():
    one = folder(study({"a": 0.1, "b": 0.0}))
    with pytest.raises(ConfigError, match="one: given twice"):
        compare([one, one, one])


def test_the_record_is_strict_json_and_the_same_again():
    both = [folder(study({"a": 0.1, "b": 0.0}))]
    text = json.dumps(compare(both, resamples=30).as_json(), allow_nan=False)
    assert text == json.dumps(compare(both, resamples=30).as_json(), allow_nan=False)
    record = json.loads(text)["prompts"]["click1"]
    first = record["rankings"]["scaled"]["systems"]["a"]
    assert first == {"rank": 1, "score": 0.0, "rank_ci95": [1, 1], "rank_frequencies": {"1": 1.0}}
    assert record["wilcoxon"][0] | {"p": 0, "p_holm": 0} == {
        "metric": "dice",
        "one": "a",
        "other": "b",
        "difference": pytest.approx(0.1),
        "patients": 6,
        "p": 0,
        "p_holm": 0,
        "ci95": None,  # all patients differ alike
    }


def test_the_table_for_a_terminal_has_the_best_first():
    lines = str(compare([folder(study({"b": 0.0, "a": 0.1}))], ["dice"], resamples=20)).splitlines()
    assert lines[0].split()[-2:] == ["dice", "missed"]
    assert lines[1].split() == ["a", "1", "1", "1", "1", "0.550", "0"]
    assert lines[2].split() == ["b", "2", "2", "2", "2", "0.450", "0"]
    assert lines[3].split() == ["Kendall's", "tau", "1.00", "1.00", "1.00", "1.00"]
