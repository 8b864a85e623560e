"""Changed scans are noticed, and those that were only copied are not taken for changed."""

import json
import os
import shutil

import pytest

from sam_moe.cases.splits import cases_of_part
from sam_moe.errors import ConfigError
from sam_moe.training.scans.scan_files import content_of


@pytest.fixture
def content(folder, splits, tmp_path):
    """Asks for the content of the train part, with a note in `note.json`."""

    def ask(data=folder):
        return content_of(cases_of_part(data, splits, "train"), data, tmp_path / "note.json")

    return ask


@pytest.mark.parametrize("name", ["a.nii.gz", "a_label.nii.gz"])
def test_files_are_read_once_and_again_only_where_size_or_time_changed(content, folder, tmp_path, name):
    first, note = content(), tmp_path / "note.json"
    known = json.loads(note.read_text())
    assert known["content"] == first
    note.write_text(json.dumps(known | {"content": "as noted"}))
    assert content() == "as noted"  # no file was read
    os.utime(folder / "balls" / name, ns=(0, 0))
    assert content() == first == json.loads(note.read_text())["content"]


@pytest.mark.parametrize("name", ["balls/a.nii.gz", "balls/a_label.nii.gz", "maps/m_label.nii.gz"])
def test_a_changed_file_changes_the_content_and_those_of_other_parts_do_not(content, folder, name):
    first = content()
    (folder / "balls" / "d.nii.gz").write_bytes(b"test")
    assert content() == first
    (folder / name).write_bytes(b"other")
    assert content() != first


def test_a_change_that_keeps_size_and_time_is_seen(content, folder):
    first, path = content(), folder / "balls" / "a.nii.gz"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content() != first


def test_other_names_of_labels_are_another_content(content, folder, change):
    first = content()
    change(folder / "balls" / "dataset.json", lambda d: d.update(labels={"sphere": 1, "box": 2}))
    assert content() != first


def test_where_the_folder_lies_does_not_matter(content, folder, tmp_path):
    first = content()
    shutil.copytree(folder, tmp_path / "copied")
    assert content(tmp_path / "copied") == first


def test_a_note_that_is_not_whole_is_written_again(content, tmp_path):
    first = content()
    (tmp_path / "note.json").write_text("{")
    assert content() == first


def test_a_file_that_is_not_there_is_named(content, folder):
    (folder / "balls" / "a.nii.gz").unlink()
    with pytest.raises(ConfigError, match=r"a\.nii\.gz: cannot be read .*dataset\.json names it"):
        content()
