"""Rules from names, settings and texts, and back; another package's rule is one file."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.moe.rule_settings import make_rule, read_rule, settings_of, text_of
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK

IDS = ["body", "cord", "liver"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("argmax", Argmax()),
        ("top_k:k=1,raw=true", TopK(1, raw=True)),
        ("threshold:tau=0.3", Threshold(0.3)),
        ("threshold:tau=1e-3", Threshold(0.001)),
        ("threshold:tau=1, general=liver", Threshold(1, general=2)),
        ("forced:index=cord", Forced(1)),
    ],
)
def test_a_text_names_a_rule_and_its_settings(text, rule):
    assert read_rule(text, IDS) == rule


def test_without_ids_an_index_names_an_expert():
    assert read_rule("forced:index=1") == Forced(1)


rules = st.one_of(
    st.builds(Threshold, st.floats(0, 1), st.integers(0, 2)),
    st.builds(TopK, st.integers(1, 9), st.booleans()),
    st.builds(Forced, st.integers(0, 2)),
    st.sampled_from([Argmax(), Dense()]),
)


@given(rules, st.booleans())
def test_what_was_written_reads_back_equal(rule, by_id):
    ids = IDS if by_id else []
    assert make_rule(rule.name, settings_of(rule, ids), ids) == rule
    assert read_rule(text_of(rule, ids), ids) == rule


def test_settings_are_what_differs_from_the_defaults_with_experts_by_id():
    assert settings_of(TopK(2)) == {} and settings_of(TopK(3)) == {"k": 3}
    assert settings_of(Forced(2), IDS) == {"index": "liver"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("topk", "selection rule 'topk' is unknown. Known, nearest first: top_k"),
        ("top_k:n=2", "'top_k' has no setting 'n'. Known, nearest first: k, raw"),
        ("argmax:k=1", "'argmax' has no setting 'k'. Known, nearest first: none"),
        ("top_k:k=two", "'top_k': k: expected int, not 'two'"),
        ("top_k:k=2.0", "'top_k': k: expected int, not 2.0"),
        ("threshold:tau=half", "'threshold': tau: expected float, not 'half'"),
        ("top_k:raw=1", "'top_k': raw: expected bool, not 1"),
        ("top_k:k=0", "k = 0 experts answer nothing"),
        ("threshold:tau=2", "threshold 2 is no confidence|threshold 2.0 is no confidence"),
        ("forced:index=live", "index: 'live' is not among the experts. Known, nearest first: liver"),
        ("forced:index=1", "index: expected an expert's id, not its index 1. .*: body, cord, liver"),
        ("threshold:general=1", "general: expected an expert's id, not its index 1"),
        ("top_k:k", "expected NAME or NAME:KEY=VALUE"),
        ("top_k:", "expected NAME or NAME:KEY=VALUE"),
        (":k=2", "expected NAME or NAME:KEY=VALUE"),
        ("top_k:k=[", "a value is not readable as YAML"),
    ],
)
def test_a_text_that_names_none_says_what_is_wrong(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read_rule(text, IDS)


def test_settings_of_what_is_no_record_are_refused():
    class Odd:
        def select(self, confidence): ...

        def explain(self, confidence, chosen): ...

    odd = Odd()
    with pytest.raises(ConfigError, match="no frozen record"):
        settings_of(odd)
    assert text_of(odd) == repr(odd)


MINE = '''
from dataclasses import dataclass
from typing import ClassVar
from sam_moe.moe.selection import never, rows_in, single


@dataclass(frozen=True)
class Last:
    """The last expert but `before`."""

    name: ClassVar[str] = "last"
    before: int = 0

    def select(self, confidence):
        index = confidence.argmax(dim=-1) * 0 + confidence.shape[-1] - 1 - self.before
        return single(index, never(confidence), confidence)

    def explain(self, confidence, chosen):
        return ("the last",) * rows_in(confidence)

    def describe(self, experts=()):
        return f"the last but {self.before}"


class Half:
    def __init__(self, share): ...
'''


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    place = tmp_path / "mine-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text(
        "[sam_moe.rules]\nlast = mine:Last\nhalf = mine:Half\nend = mine:Last\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


def test_another_packages_rule_is_named_like_ones_own(another_package):
    rule = read_rule("last:before=1")
    assert rule.select(torch.ones(2, 3) / 3).experts.tolist() == [[1], [1]]
    assert settings_of(rule) == {"before": 1} and rule.describe() == "the last but 1"
    with pytest.raises(ConfigError, match="'last' has no setting 'befor'. Known, nearest first: before"):
        read_rule("last:befor=1")


def test_another_packages_class_that_is_no_rule_is_refused(another_package):
    with pytest.raises(ConfigError, match="'half' lacks a method or its name"):
        read_rule("half:share=1")
    with pytest.raises(ConfigError, match="'half' cannot be made of"):
        read_rule("half")


def test_another_packages_rule_that_a_card_would_name_otherwise_is_refused(another_package):
    with pytest.raises(ConfigError, match="'end' is class Last, which names itself 'last'. .*`name = 'end'`"):
        read_rule("end")
