"""A lock file belongs to one process at a time, and to none once that is dead."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from sam_moe.files.locking import locked

HOLDER = """
import sys, time
from pathlib import Path
from sam_moe.files.locking import locked
with locked(Path(sys.argv[1]), wait=len(sys.argv) > 2) as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Starts processes that take a lock and keep it."""
    started = []

    def holder(path, *wait):
        started.append(
            subprocess.Popen([sys.executable, "-c", HOLDER, path, *wait], stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield holder
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    path = tmp_path / "a.lock"
    with locked(path) as one, locked(path) as other:
        assert (one, other) == (True, False)
    with locked(path) as again:
        assert again is True


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free_although_its_file_is_there(tmp_path, start):
    path = tmp_path / "a.lock"
    process = start(path)
    assert process.stdout.readline() == "True\n"
    with locked(path) as held:
        assert held is False
    process.kill()
    process.wait()
    assert path.is_file()
    with locked(path, wait=True) as held:
        assert held is True


@pytest.mark.slow
def test_a_process_that_waited_for_a_discarded_lock_makes_a_new_file_that_others_see(tmp_path, start):
    path = tmp_path / "a.lock"
    with locked(path, discard=True) as held:
        waiting = start(path, "wait")
        assert held and path.is_file()
    assert waiting.stdout.readline() == "True\n"
    with locked(path) as held:
        assert path.is_file() and held is False


def test_a_discarded_lock_leaves_no_file_and_what_another_holds_is_not_discarded(tmp_path):
    path = tmp_path / "a.lock"
    with locked(path):
        with locked(path, discard=True) as other:
            assert other is False
        assert path.is_file()
    with locked(path, discard=True):
        pass
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_none(tmp_path, monkeypatch, number):
    """What a network mount without a lock daemon answers; no test can mount one."""

    def refused(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with locked(tmp_path / "a.lock", discard=True) as held:
        assert held is None
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none" / "a.lock"):
        pass
    assert not [*tmp_path.iterdir()]


def test_an_error_in_the_block_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "a.lock"):
        raise KeyError
    with locked(tmp_path / "a.lock") as held:
        assert held is True
