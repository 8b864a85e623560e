"""Data sets that the benchmarks read, drawn instead of real."""

import pytest

from benchmarks import cases
from tests.benchmarks.drawn import write_set


@pytest.fixture
def drawn_set(tmp_path, monkeypatch):
    """The benchmarks' data folder holds the drawn set alone, and the splits name its cases."""
    monkeypatch.setattr(cases, "DATA", write_set(tmp_path))
    monkeypatch.setattr(cases, "SPLITS", tmp_path / "splits.json")
    for kept in (cases.described, cases.expert_labels, cases._by_name):
        kept.cache_clear()
    yield tmp_path
    for kept in (cases.described, cases.expert_labels, cases._by_name):
        kept.cache_clear()
