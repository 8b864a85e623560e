"""Work shared out: all of it, once, and evenly; and no more threads than processors."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.processes import Processes, dealt, processors, set_threads


@given(st.lists(st.floats(0, 1e9), max_size=30), st.integers(1, 8))
def test_every_item_is_dealt_to_one_hand(sizes, hands):
    found = dealt(sizes, hands)
    assert len(found) == hands
    assert sorted(n for hand in found for n in hand) == list(range(len(sizes)))


@given(st.lists(st.floats(0, 1e9), max_size=30), st.integers(1, 8))
def test_no_hand_has_more_than_another_by_more_than_one_item(sizes, hands):
    """The greedy deal: when a hand got its last item, none had less."""
    found = dealt(sizes, hands)
    held = [sum(sizes[n] for n in hand) for hand in found]
    assert max(held) - min(held) <= max(sizes, default=0) * (1 + 1e-9)


def test_what_has_no_size_is_spread_too():
    assert dealt([0, 0, 0, 0], 2) == [[0, 2], [1, 3]]


def test_a_process_alone_has_all_the_work(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = Processes()
    assert alone.share(["a", "b"], [1, 2]) == ["a", "b"] and alone.gather(["x"]) == ["x"]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_processes_on_one_machine_divide_its_processors(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what launchers of several processes say unasked
    set_threads(2)
    assert torch.get_num_threads() == max(1, processors() // 2)
    set_threads(10_000)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("asked", "processes"), [("3", 1), ("3", 2), ("1", 1)])
def test_threads_that_a_person_asks_for_are_left(threads, monkeypatch, asked, processes):
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    set_threads(processes)
    assert torch.get_num_threads() == 3


def test_a_containers_quota_counts(tmp_path):
    every = processors(tmp_path / "none")
    for text, expected in (("max 100000\n", every), ("100000 100000\n", 1), ("50000 100000\n", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert processors(tmp_path / "cpu.max") == expected
    (tmp_path / "cpu.max").write_text(f"{10_000 * every}00 10000\n")
    assert processors(tmp_path / "cpu.max") == every


# The launcher unbuffers: each argument of a print would be a write of its own, and two ranks' could mix.
SHARE = """
import sys
from sam_moe.processes import Processes
here = Processes()
mine = here.share(["a", "b", "c"] if here.rank == 0 else [], [3, 1, 1] if here.rank == 0 else [])
sys.stdout.write(f"{here.rank} {mine} {sorted(here.gather([n.upper() for n in mine]))}\\n")
"""


@pytest.mark.slow
def test_two_processes_share_the_first_ones_list_and_meet_at_the_end(tmp_path):
    (tmp_path / "share.py").write_text(SHARE)
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launched, str(tmp_path / "share.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    every = "['A', 'B', 'C']"
    assert sorted(done.stdout.splitlines()) == [f"0 ['a'] {every}", f"1 ['b', 'c'] {every}"]
