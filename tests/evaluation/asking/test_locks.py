"""A case belongs to one process at a time, and to none once that is dead."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.asking.locks import check_several, claimed, clear

HOLDER = """
import sys, time
from pathlib import Path
from sam_moe.evaluation.asking.locks import claimed
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


def test_locks_are_cleared_and_all_else_stays(tmp_path):
    with claimed(tmp_path / "a.json"):
        (tmp_path / "a.json").write_text("{}")
        (tmp_path / ".DS_Store").write_text("")
    clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".DS_Store", "a.json"]


def test_a_probe_for_locks_leaves_nothing(tmp_path):
    check_several(2, tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_takes_one_process_and_says_so_to_several(tmp_path, monkeypatch, number):
    """What a network mount without a lock daemon says; no test can mount one."""

    def refused(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with claimed(tmp_path / "a.json") as ours:
        assert ours
    with pytest.raises(ConfigError, match="or a folder on a local disk"):
        check_several(2, tmp_path)


def test_an_old_filelock_is_one_line(tmp_path, monkeypatch):
    """filelock 3 takes every error of a lock for a lock that another holds, and torch is content with it."""
    old = tmp_path / "filelock-3.18.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: filelock\nVersion: 3.18.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    needed = "filelock 3.18.0 .*Expected 4 or later: pip install 'filelock>=4'"
    with pytest.raises(ConfigError, match=needed), claimed(tmp_path / "a.json"):
        pass
    with pytest.raises(ConfigError, match=needed):
        check_several(2, tmp_path)


def test_a_read_only_disk_is_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(FileError, match="cannot be written .Read-only"), claimed(small_disk / "a.json"):
        pass
    assert check_several(1, small_disk) is None


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(FileError, match="cannot be written"), claimed(tmp_path / "none" / "a.json"):
        pass
