"""Launchers' variables, processors, threads and shares of work; and that no other module asks for them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.processes import (
    Processes,
    check_launched,
    cpu_alone,
    dealt,
    join,
    local_world_size,
    processors,
    rank,
    share_threads,
    threads,
    use_threads,
    world_size,
)

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_without_a_launcher_there_is_one_process_with_number_0(monkeypatch, text):
    for name in NAMES if text is not None else ():
        monkeypatch.setenv(name, text)
    check_launched()
    assert (world_size(), local_world_size(), rank()) == (1, 1, 0)


@pytest.mark.parametrize("text", ["abc", "0", "-2", "1.5", "²"])
def test_what_is_no_number_of_processes_is_refused_by_its_name(monkeypatch, text):
    monkeypatch.setenv("WORLD_SIZE", text)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", text)
    monkeypatch.setenv("RANK", "-1")
    for read, name in ((world_size, "WORLD_SIZE"), (local_world_size, "LOCAL_WORLD_SIZE"), (rank, "RANK")):
        with pytest.raises(ConfigError, match=f"variable {name} is .* Expected a whole number"):
            read()


def test_several_processes_need_a_launcher_that_started_them(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"):
        check_launched()
    for name, value in (("LOCAL_RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29500")):
        monkeypatch.setenv(name, value)
    check_launched()
    assert world_size() == 4


ASKED_HERE = re.compile(
    r"cpu_count|sched_getaffinity|[gs]et_num_threads|WORLD_SIZE|\"RANK\"|PartialState\(cpu"
)


def test_no_other_module_asks_for_processors_threads_or_ranks():
    files = [path for room in ("sam_moe", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]
    asking = {
        path.relative_to(ROOT).as_posix() for path in files if ASKED_HERE.search(path.read_text("utf-8"))
    }
    assert asking == {"sam_moe/processes.py"}


def test_it_starts_without_torch():
    program = "import sys, sam_moe.processes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n"


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
def restored():
    before = threads()
    yield
    use_threads(before)


def test_a_number_of_threads_that_code_sets_is_taken(restored):
    use_threads(3)
    assert threads() == torch.get_num_threads() == 3


def test_processes_on_one_machine_divide_its_processors(restored, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as launchers of several processes set it unasked
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    use_threads(7)
    share_threads()
    assert threads() == max(1, processors() // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "10000")
    share_threads()
    assert threads() == 1


def test_processes_that_no_launcher_started_divide_them_too(restored, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    use_threads(7)
    share_threads(10_000)
    assert threads() == 1


def test_one_process_takes_no_more_than_torch_would_and_no_more_than_there_are(restored, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for before in (1, 10_000):
        use_threads(before)
        share_threads()
        assert threads() == min(before, processors())


@pytest.mark.parametrize(("asked", "processes"), [("3", 1), ("3", 2), ("1", 1), ("1", 2)])
def test_threads_that_a_person_asks_for_are_left(restored, monkeypatch, asked, processes):
    use_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    share_threads(processes)
    assert threads() == 3


def test_a_process_alone_joins_itself():
    state = join()
    assert (state.num_processes, state.process_index) == (1, 0)
    assert cpu_alone() == (state.device.type == "cpu")


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
