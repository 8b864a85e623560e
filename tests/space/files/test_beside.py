"""What lies beside a mask describes that mask, or goes with the one that it described."""

import json
from pathlib import Path

import pytest
import torch

from sam_moe.errors import FileError
from sam_moe.space.files import labels_beside, read, record_beside, write_mask
from sam_moe.space.files.beside import labels_text, names_beside, withdraw_record
from sam_moe.space.grid import Grid
from tests.files.dying import deaths

GRID = Grid.around((0, 0, 0), (4, 5, 6), (1, 1, 1))
OLD, NEW = torch.zeros(GRID.shape, dtype=torch.uint8), torch.ones(GRID.shape, dtype=torch.uint8)


def record(mask, kind="run"):
    """A record of the run that made a mask, as far as it is looked at here."""
    record_beside(mask).write_text(json.dumps({"format": 1, "kind": kind, "mask": mask.name}))


@pytest.mark.parametrize("name", ["liver.nii.gz", "liver.nii", "liver.nrrd", "liver.mha", "liver.NII.GZ"])
def test_names_and_record_have_the_stem_of_the_mask(tmp_path, name):
    assert record_beside(tmp_path / name) == tmp_path / "liver.run.json"
    assert labels_beside(tmp_path / name) == tmp_path / "liver.labels.json"


def test_dots_in_a_masks_name_are_kept(tmp_path):
    assert record_beside(tmp_path / "p1.t2.nii.gz").name == "p1.t2.run.json"


def test_a_name_of_no_format_is_refused(tmp_path):
    for name in ("liver.png", ".nii", "liver"):
        with pytest.raises(FileError, match="unknown kind of file to write"):
            record_beside(tmp_path / name)


@pytest.mark.parametrize("kind", ["run", "begun"])
def test_a_new_mask_ends_the_record_of_the_old_one(tmp_path, kind):
    mask = tmp_path / "m.nii.gz"
    write_mask(mask, OLD, GRID)
    record(mask, kind)
    write_mask(mask, NEW, GRID, {1: "liver"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.labels.json", "m.nii.gz"]


OTHERS = ["", "[1]", "{broken", '{"kind": "other", "mask": "m.nii.gz"}', '{"kind": "run", "mask": "m.nii"}']


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_no_record_of_this_mask_stays(tmp_path, text):
    mask = tmp_path / "m.nii.gz"
    record_beside(mask).write_text(text)
    write_mask(mask, NEW, GRID)
    assert record_beside(mask).read_text() == text


def test_a_mask_that_cannot_be_written_keeps_what_is_there(tmp_path):
    mask = tmp_path / "m.nii.gz"
    write_mask(mask, OLD, GRID)
    record(mask)
    with pytest.raises(FileError, match="labels from -1"):
        write_mask(mask, -NEW.to(torch.int8), GRID)
    assert record_beside(mask).is_file() and torch.equal(read(mask, quiet=True).array, OLD)


def test_a_caller_that_sees_to_the_record_finds_it_as_it_was(tmp_path):
    mask, seen = tmp_path / "m.nii.gz", []
    record(mask)
    write_mask(mask, NEW, GRID, ready=lambda new: seen.append(record_beside(mask).is_file()))
    assert seen == [True] and record_beside(mask).is_file()


def test_wherever_a_process_dies_no_record_lies_beside_another_mask(tmp_path):
    mask = tmp_path / "m.nii.gz"

    def begin():
        write_mask(mask, OLD, GRID, {1: "old"})
        record(mask)

    for _ in deaths(tmp_path, lambda: write_mask(mask, NEW, GRID), begin):
        old = torch.equal(read(mask, quiet=True).array, OLD)
        assert old or not (record_beside(mask).exists() or labels_beside(mask).exists())


def test_no_record_is_no_error(tmp_path):
    withdraw_record(tmp_path / "m.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", [{0: "air"}, {1: ""}, {70000: "far"}])
def test_names_are_of_values_from_1(tmp_path, labels):
    with pytest.raises(FileError, match="Expected whole numbers from 1 with a name"):
        labels_text(labels, tmp_path / "m.nii")


def test_names_stand_in_the_order_of_their_values():
    assert labels_text({10: "b", 2: "a"}, Path("m.nii")) == '{\n  "2": "a",\n  "10": "b"\n}\n'


def test_names_are_read_as_they_were_written_and_without_a_file_there_are_none(tmp_path):
    mask = tmp_path / "organs.nii.gz"
    assert names_beside(mask) == {}
    names = {2: "liver", 11: "Leber, rechts"}
    labels_beside(mask).write_text(labels_text(names, mask), encoding="utf-8")
    assert names_beside(mask) == names


@pytest.mark.parametrize("text", ["[1]", '{"one": "liver"}', '{"-1": "liver"}', '{"1": 2}', '{"1": ""}', "{"])
def test_what_is_no_table_of_names_is_refused(tmp_path, text):
    mask = tmp_path / "organs.nii.gz"
    labels_beside(mask).write_text(text)
    with pytest.raises(FileError, match=r"organs\.labels\.json"):
        names_beside(mask)
