"""No verb writes over what is not ours, and none removes masks that it was given to score."""

import pytest

from sam_moe.cli.own_files import (
    COMPARISON,
    METRICS,
    RESULT,
    ROUTES,
    check_evaluation,
    check_file,
    recorded_prompts,
)
from sam_moe.errors import FileError
from sam_moe.ownership import check_folder
from sam_moe.space.files import write_mask, write_volume


@pytest.fixture
def challenge(tmp_path, phantom):
    """A challenge of one labelled scan."""
    for folder, file in (("images", phantom[0]), ("labels", phantom[1])):
        (tmp_path / "set" / folder).mkdir(parents=True)
        if folder == "images":
            write_volume(tmp_path / "set/images/a.nii.gz", file)
        else:
            write_mask(tmp_path / "set/labels/a.nii.gz", file.array, file.grid)
    text = "name: c\nsets:\n  - {layout: folders, root: ./set}\nlabels: {ball: [1]}\nprotocol: click\n"
    (tmp_path / "ch.yaml").write_text(text)
    return tmp_path / "ch.yaml"


@pytest.mark.parametrize(
    "files", [RESULT, COMPARISON, ROUTES, METRICS], ids=["result", "comparison", "routes", "metrics"]
)
def test_a_file_of_ours_by_name_only_is_refused(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("mine\n")
        with pytest.raises(FileError, match="--force"):
            check_folder(tmp_path, files)
        (tmp_path / name).unlink()
    check_folder(tmp_path, files)


def test_simulate_takes_no_scan_and_no_prompts_of_others_for_its_own(sam_moe, cards, challenge, tmp_path):
    scan = tmp_path / "set/images/a.nii.gz"
    before = scan.read_bytes()
    ran = sam_moe("simulate", challenge, "--out", scan)
    assert (ran.code, scan.read_bytes()) == (1, before) and "--force" in ran.err
    ran = sam_moe("simulate", challenge, "--out", challenge, "--force")
    assert ran.code == 1 and "which is read" in ran.err
    for _ in range(2):
        assert sam_moe("simulate", challenge, "--out", tmp_path / "p.json").code == 0
    by_hand = (tmp_path / "p.json").read_text().replace("; seed ", ", seed ")
    (tmp_path / "p.json").write_text(by_hand)
    assert sam_moe("simulate", challenge, "--out", tmp_path / "p.json").code == 1
    with pytest.raises(FileError, match="did not write"):
        check_file(tmp_path / "p.json", recorded_prompts, [], force=False)


@pytest.mark.slow
def test_masks_that_were_given_are_scored_and_stay(sam_moe, cards, challenge, tmp_path):
    masks = tmp_path / "out/predictions"
    masks.mkdir(parents=True)
    mask = masks / "a.nii.gz"
    mask.write_bytes((tmp_path / "set/labels/a.nii.gz").read_bytes())
    for place in (masks, masks / "small"):
        (masks / "small").mkdir(exist_ok=True)
        ran = sam_moe("evaluate", challenge, "--predictions", place, "--out", tmp_path / "out", "--force")
        assert ran.code == 1 and "keeps its own masks" in ran.err
    ran = sam_moe("evaluate", challenge, "--out", tmp_path / "out")
    assert ran.code == 1 and "no evaluation was begun" in ran.err
    assert mask.is_file()
    mask.rename(tmp_path / "a.nii.gz")
    (tmp_path / "given").mkdir()
    (tmp_path / "a.nii.gz").rename(tmp_path / "given/a.nii.gz")
    for _ in range(2):
        ran = sam_moe("evaluate", challenge, "--predictions", tmp_path / "given", "--out", tmp_path / "new")
        assert ran.code == 0, ran.err
    (tmp_path / "new/report.html").write_text("<html>of mine</html>")
    ran = sam_moe("evaluate", challenge, "--predictions", tmp_path / "given", "--out", tmp_path / "new")
    assert ran.code == 1 and "report.html: is there already" in ran.err


def test_a_folder_that_nothing_was_begun_in_is_left_alone(tmp_path):
    (tmp_path / "cases").mkdir()
    check_evaluation(tmp_path, [], None, force=False)
    (tmp_path / "cases/mine.txt").write_text("")
    with pytest.raises(FileError, match="no evaluation was begun"):
        check_evaluation(tmp_path, [], None, force=False)
    check_evaluation(tmp_path, [], None, force=True)
