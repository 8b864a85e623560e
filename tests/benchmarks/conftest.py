"""Data sets that the benchmarks read, drawn instead of real."""

import pytest

from benchmarks import cases
from tests.benchmarks.drawn import SPLITS, write_set


@pytest.fixture
def drawn_set(tmp_path, monkeypatch):
    """The benchmarks' data folder holds the drawn set alone, and the splits name its cases."""
    monkeypatch.setattr(cases, "DATA", write_set(tmp_path))
    monkeypatch.setattr(cases, "splits", lambda: SPLITS)
    cases.cases_of.cache_clear()
    yield tmp_path
    cases.cases_of.cache_clear()
