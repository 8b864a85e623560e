"""What launchers set in the environment: read once, refused in one line where it is nonsense."""

import pytest

from sam_moe.errors import ConfigError
from sam_moe.launch import check_launched, local_world_size, rank, world_size

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
