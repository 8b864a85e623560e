import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from sam_moe.errors import FileError
from sam_moe.files import (
    PREFIX,
    check_writable,
    make_folder,
    new_folder,
    replace_text,
    replacing,
    sweep,
    withdraw,
)

_WRITER = """
import sys, time
from sam_moe.files import replacing
with replacing(sys.argv[1]) as new:
    new.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def rights(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def writer(tmp_path):
    """A process that is in the midst of writing `a`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    replace_text(path, "old")
    with replacing(path) as new:
        assert new.name == "a.txt"  # writers look at a name's end
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_may_be_replaced_within_another_that_is_being_written(tmp_path):
    with replacing(tmp_path / "a") as new:
        replace_text(new, "inner")
        replace_text(tmp_path / "b", "beside")
    assert (tmp_path / "a").read_text() == "inner"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    replace_text(path, "old")
    with (
        pytest.raises(FileError, match=r"a.txt: cannot be written \(last line\)"),
        replacing(path, (RuntimeError,)),
    ):
        raise RuntimeError("first line\nlast line")
    with pytest.raises(RuntimeError, match="a mistake of ours"), replacing(path):
        raise RuntimeError("a mistake of ours")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(small_disk):
    replace_text(small_disk / "a", "old")
    with pytest.raises(FileError, match="No space left"):
        replace_text(small_disk / "a", "x" * 200_000)
    assert (small_disk / "a").read_text() == "old"
    assert [file.name for file in small_disk.iterdir()] == ["a"]


def test_a_disk_that_cannot_be_written_is_noticed_before_the_work(small_disk):
    check_writable(small_disk / "new" / "deeper")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for refuse in (
        check_writable,
        lambda folder: replace_text(folder / "a", ""),
        lambda folder: make_folder(folder / "new"),
    ):
        with pytest.raises(FileError, match="Read-only file system") as refused:
            refuse(small_disk)
        assert "probe" not in str(refused.value)  # which only we know of


def test_rights_follow_the_umask_or_the_old_file(tmp_path):
    before = os.umask(0o077)
    try:
        replace_text(tmp_path / "private", "")
        os.umask(0o002)
        replace_text(tmp_path / "shared", "")
        replace_text(tmp_path / "private", "again")
    finally:
        os.umask(before)
    assert rights(tmp_path / "private") == 0o600
    assert rights(tmp_path / "shared") == 0o664


def test_rights_follow_the_umask_where_the_writer_gives_its_file_fewer(tmp_path):
    """As safetensors does, which writes for its user alone."""
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as new:
            os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert rights(tmp_path / "a") == 0o640


def test_what_was_killed_while_it_looked_leaves_nothing_after_the_next_look(tmp_path):
    (tmp_path / f"{PREFIX}0").mkdir()
    check_writable(tmp_path / "new" / "er")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_no_file(tmp_path):
    with pytest.raises(FileError, match="no such folder .*none. Expected an existing one"):
        replace_text(tmp_path / "none" / "a", "")
    (tmp_path / "file").touch()
    for refuse in (make_folder, check_writable):
        with pytest.raises(FileError, match="file: is a file. Expected a folder"):
            refuse(tmp_path / "file")
    with pytest.raises(FileError, match="is a folder. Expected an ordinary file"):
        replace_text(tmp_path, "")
    with pytest.raises(FileError, match="null byte"):
        replace_text(tmp_path / "a\0", "")


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with new_folder(tmp_path / "card") as new:
        (new / "card.json").write_text("{}")
        assert not (tmp_path / "card").exists()
    assert (tmp_path / "card" / "card.json").read_text() == "{}"
    with pytest.raises(FileError, match="is there already"), new_folder(tmp_path / "card"):
        pass
    with pytest.raises(KeyError), new_folder(tmp_path / "other"):
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["card"]


def test_what_a_living_process_writes_is_not_swept(tmp_path, writer):
    sweep(tmp_path)
    assert [file.name.startswith(PREFIX) for file in tmp_path.iterdir()] == [True, True]  # folder and lock


def test_what_a_killed_process_left_is_swept(tmp_path, writer):
    (tmp_path / ".other").touch()
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 3
    sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".other"]


def test_a_folder_that_is_not_there_needs_no_sweep(tmp_path):
    sweep(tmp_path / "none")


def test_sweeping_while_others_write_takes_nothing_of_theirs(tmp_path):
    sweeper = subprocess.Popen(
        [sys.executable, "-c", f"from sam_moe.files import sweep\nwhile True: sweep({str(tmp_path)!r})"]
    )
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            replace_text(tmp_path / "a", "x")
    finally:
        sweeper.kill()
        sweeper.wait()
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EINVAL", "EIO", "EPERM", "EACCES"])
def test_a_lock_that_cannot_be_taken_stops_no_writing(tmp_path, monkeypatch, name):
    """EACCES counts as another's lock: no writing may wait for one that is never given back."""

    def refused(file, how):
        raise OSError(getattr(errno, name), name)

    monkeypatch.setattr(fcntl, "flock", refused)
    replace_text(tmp_path / "a", "x")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a", "x")]
    (tmp_path / f"{PREFIX}0").mkdir()
    sweep(tmp_path)
    assert (tmp_path / f"{PREFIX}0").is_dir()


def test_withdrawing_twice_is_fine(tmp_path):
    replace_text(tmp_path / "a", "")
    withdraw(tmp_path / "a")
    withdraw(tmp_path / "a")
    with pytest.raises(FileError, match="cannot be removed"):
        withdraw(tmp_path)
