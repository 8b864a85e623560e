import numpy as np
import pytest
import torch

from sam_moe.evaluation.asking.casefile import CaseFile, case_path, file_name, write_whole
from sam_moe.evaluation.challenge.challenge import Case
from sam_moe.evaluation.report.cases import counted, kept, last_answers, not_there, worst_cases
from sam_moe.evaluation.scoring.summary import summarise
from sam_moe.pictures.scene import Scene
from sam_moe.prompts.prompt import Box, Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.evaluation.rows import cells_of, missing, row, study, words_of

GRID = Grid(np.diag([2.0, 2.0, 3.0, 1.0]), (12, 10, 8))


def ball(size: int = 2) -> torch.Tensor:
    mask = torch.zeros(GRID.shape, dtype=torch.uint8)
    mask[4 : 4 + size, 4 : 4 + size, 3 : 3 + size] = 1
    return mask


@pytest.fixture
def case(tmp_path):
    """A case of one scan with the structure 7 in its label map."""
    scan = torch.arange(12 * 10 * 8, dtype=torch.float32).reshape(GRID.shape)
    write_volume(tmp_path / "scan.nii.gz", Volume(scan, GRID))
    write_mask(tmp_path / "truth.nii.gz", ball(3) * 7, GRID)
    images = {"scan": tmp_path / "scan.nii.gz"}
    return Case("a/1", "a", images, "scan", tmp_path / "truth.nii.gz", {}, {"liver": (7,)})


def keep(folder, system="small", case="a/1", values=None):
    """What an evaluation keeps of a case: the last masks, and what was said."""
    stem = folder / "predictions" / file_name(system)
    stem.mkdir(parents=True)
    write_mask(stem / f"{file_name(case)}.nii.gz", ball() * 2, GRID, values or {1: "spleen", 2: "liver"})
    (folder / "cases").mkdir()
    prompts = {"liver": Prompt((Box((3, 3, 2), (8, 8, 7)),))}
    said = {system: PromptCase.of("scan.nii.gz", prompts)}
    write_whole(CaseFile(case=case, rows=(), prompts=said, seconds=1), case_path(folder, case))


def test_a_kept_mask_is_looked_at_with_truth_and_prompts(tmp_path, case):
    keep(tmp_path / "out")
    scene = kept(tmp_path / "out", [case])(row(case="a/1"))
    assert scene.title == "a/1 · liver"
    assert torch.equal(scene.masks["small"] > 0, ball() > 0)
    assert torch.equal(scene.truth > 0, ball(3) > 0)
    assert scene.prompt == Prompt((Box((3, 3, 2), (8, 8, 7)),))


def test_without_a_kept_mask_the_target_is_shown(tmp_path, case):
    scene = kept(tmp_path, [case])(row(case="a/1"))
    assert (dict(scene.masks), scene.prompt) == ({}, Prompt())
    assert scene.truth is not None


def test_an_empty_answer_is_not_warned_of_as_a_scan_that_shows_nothing(tmp_path, case, caplog):
    keep(tmp_path / "out")
    path = tmp_path / "out" / "predictions" / "small" / f"{file_name('a/1')}.nii.gz"
    write_mask(path, torch.zeros_like(ball()), GRID, {1: "spleen", 2: "liver"})
    scene = kept(tmp_path / "out", [case])(row(case="a/1"))
    assert not scene.masks["small"].any()
    assert "every voxel" not in caplog.text


def test_a_kept_map_that_lacks_the_structure_shows_no_mask(tmp_path, case):
    keep(tmp_path / "out", values={2: "spleen"})
    assert dict(kept(tmp_path / "out", [case])(row(case="a/1")).masks) == {}


def test_what_cannot_be_read_has_no_picture(tmp_path, case, caplog):
    look = kept(tmp_path, [case])
    assert look(row(case="unknown")) is None
    case.truth.write_bytes(b"not an image")
    assert look(row(case="a/1")) is None
    assert "a/1: no picture" in caplog.text


def test_the_answer_at_the_end_is_the_one_that_counts():
    found = last_answers([row(0.1, prompt="click1"), row(0.9, prompt="click2", step=1), row(status="extra")])
    assert [(one.prompt, one.dice) for one in found] == [("click2", 0.9)]


@pytest.mark.slow
def test_the_worst_come_first_and_have_pictures(tmp_path, case):
    keep(tmp_path / "out")
    rows = [row(0.4, case="a/1"), row(0.2, case="a/1", label="spleen"), row(0.9, case="b1", patient="b")]
    made = worst_cases(rows, ["small"], kept(tmp_path / "out", [case]), pictures=2)
    title, listed, *pictures = made
    assert title.text == "small, lowest Dice at the end"
    assert [cells[3] for cells in cells_of(listed)] == ["Dice", "0.200", "0.400", "0.900"]
    (spleen, liver) = pictures
    for picture in pictures:
        assert next(picture.iter("img")).get("src").startswith("data:image/webp;base64,")
    assert "a/1, spleen, small after click1: Dice 0.200" in words_of(spleen)[0]
    assert "its mask was not kept" not in words_of(liver)[0]


@pytest.mark.slow
def test_pictures_are_few_however_many_systems_there_are():
    looked = []
    scan = Volume(torch.rand(GRID.shape), GRID)

    def look(one):
        looked.append(one.system)
        return Scene(scan, {}, Prompt(), one.case, ball())

    rows = study({"a": 0.0, "b": 0.1, "c": 0.2})
    worst_cases(rows, ["a", "b", "c"], look, pictures=2)
    assert looked == ["a", "b"]


def test_without_a_look_the_worst_are_listed_only():
    made = worst_cases(study({"small": 0.0}), ["small"], None, pictures=6)
    assert [one.tag for one in made] == ["h3", "div"]
    assert len(cells_of(made[1])) == 9


def test_a_line_says_what_is_wrong_with_each_case_and_file():
    rows = [
        row(0.5),
        missing(case="b1", patient="b", reason="no file"),
        missing(case="b1", patient="b", reason="no file", prompt="click2", step=1),
        row(0.0, case="c1", patient="c", status="wrong_grid", reason="its grid is 4 x 4 x 4"),
        row(0.0, case="d1", patient="d", status="empty"),
        row(0.0, case="stranger.nii.gz", patient="", label="", status="extra", reason="no case's"),
    ]
    assert [cells[1:] for cells in cells_of(not_there(rows))] == [
        ["case or file", "structure", "last prompt", "status", "more"],
        ["b1", "liver", "click1 … click2 (2)", "missing", "no file"],
        ["c1", "liver", "click1", "wrong grid", "its grid is 4 x 4 x 4"],
        ["d1", "liver", "click1", "empty", ""],
        ["stranger.nii.gz", "", "click1", "extra", "no case's"],
    ]
    assert (
        counted(summarise(rows)["statuses"]) == "of 5 answers 1 empty, 2 missing, 1 wrong grid; 1 extra file"
    )


def test_where_all_is_well_nothing_is_listed():
    assert not_there([row()]) is None
    assert counted(summarise([row()])["statuses"]) == "of 1 answers all could be measured"


def test_very_many_lines_are_cut_and_counted():
    rows = [missing(case=f"c{number:03}", patient="p") for number in range(230)]
    made = not_there(rows)
    assert len(cells_of(made)) == 201
    assert "The first 200 of 230; all are in rows.csv." in words_of(made)
