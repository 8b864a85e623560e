import json

import pytest

from sam_moe.cases.parts import choose
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from tests.evaluation.drawn import pairs


def chosen(tmp_path, splits=None, names=("p1_a", "p1_b", "p2_a"), **keys):
    if not (tmp_path / "set").exists():
        pairs(tmp_path / "set", names)
    if splits is not None:
        (tmp_path / "splits.json").write_text(json.dumps({"sets": {"set": splits}}))
        keys["splits"] = "splits.json"
    source = Source(layout="folders", root="set", **{"patient": "^(p[0-9])", **keys})
    return [(found.case, found.part) for found in choose(source, tmp_path / "set", tmp_path)]


def test_without_a_part_all_cases_are_chosen(tmp_path):
    assert [case for case, _ in chosen(tmp_path)] == ["p1_a", "p1_b", "p2_a"]


def test_a_splits_file_says_which_cases_a_part_has(tmp_path):
    splits = {"train": ["p1_a", "p1_b"], "test": ["p2_a"]}
    assert chosen(tmp_path, splits, part="test") == [("p2_a", "test")]
    assert len(chosen(tmp_path, splits, part="train")) == 2


def test_two_scans_of_one_patient_in_two_parts_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"patient p1 .*two parts, p1_a in 'train' and p1_b in 'test'"):
        chosen(tmp_path, {"train": ["p1_a"], "test": ["p1_b", "p2_a"]}, part="test")


def test_without_an_expression_each_case_is_a_patient(tmp_path):
    splits = {"train": ["p1_a"], "test": ["p1_b", "p2_a"]}
    assert len(chosen(tmp_path, splits, part="test", patient="")) == 2


def test_a_case_that_does_not_match_the_patients_expression_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"case p1_a does not match patient: '\^\(q\)'"):
        chosen(tmp_path, patient="^(q)")


def test_a_split_that_names_a_case_without_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="names the case p9, but set has none"):
        chosen(tmp_path, {"test": ["p9"]}, part="test")


def test_an_unknown_part_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"no cases in the part 'tset'. Expected one of: test, train"):
        chosen(tmp_path, {"train": ["p1_a"], "test": ["p2_a"]}, part="tset")
    with pytest.raises(ConfigError, match="this layout knows no parts"):
        chosen(tmp_path, part="test")


def test_single_cases_can_be_chosen(tmp_path):
    assert chosen(tmp_path, cases=("p2_a",)) == [("p2_a", "")]
    with pytest.raises(ConfigError, match="no case 'p2_b' in this part; nearest: p1_b"):
        chosen(tmp_path, cases=("p2_b",))


@pytest.mark.parametrize("table", [{}, {"sets": {"other": {}}}, {"sets": {"set": {"test": "p1_a"}}}])
def test_a_splits_file_without_the_set_is_refused(tmp_path, table):
    chosen(tmp_path)
    (tmp_path / "splits.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=r"expected 'sets' with an entry (for each|'set')"):
        choose(Source(layout="folders", root="set", splits="splits.json"), tmp_path / "set", tmp_path)


def test_a_splits_file_that_cannot_be_read_is_refused(tmp_path):
    chosen(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match="broken.json: not readable as JSON"):
        choose(Source(layout="folders", root="set", splits="broken.json"), tmp_path / "set", tmp_path)
