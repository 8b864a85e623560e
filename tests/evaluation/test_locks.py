"""A case belongs to one process at a time, and to nobody once that is dead."""

import subprocess
import sys

import pytest

from sam_moe.errors import ConfigError
from sam_moe.evaluation import locks
from sam_moe.evaluation.locks import check_several, claimed, clear

HOLDER = """
import sys, time
from pathlib import Path
from sam_moe.evaluation.locks import claimed
with claimed(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_what_one_has_another_does_not_get(tmp_path):
    with claimed(tmp_path / "a.json") as ours, claimed(tmp_path / "a.json") as other:
        assert ours and not other
    with claimed(tmp_path / "a.json") as again:
        assert again


@pytest.mark.slow
def test_a_killed_process_gives_its_case_back(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "a.json"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"True\n"
        with claimed(tmp_path / "a.json") as ours:
            assert not ours
    finally:
        holder.kill()
        holder.communicate()
    with claimed(tmp_path / "a.json", wait=True) as ours:
        assert ours


def test_locks_are_cleared_and_cases_stay(tmp_path):
    with claimed(tmp_path / "a.json"):
        (tmp_path / "a.json").write_text("{}")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_without_locks_there_is_one_process(monkeypatch):
    check_several(2)
    monkeypatch.setattr(locks, "_HERE", False)
    check_several(1)
    with pytest.raises(ConfigError, match="2 processes share cases by locks"):
        check_several(2)
