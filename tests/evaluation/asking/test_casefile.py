"""A folder is gone on with by what began it, and by nothing else."""

import pytest

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.asking.casefile import Setup, begin, case_path, file_name, read_casefile, relative
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase

SETUP = Setup(challenge={"name": "c"}, protocols=("clicks",), systems={"small": {"id": "small"}})


def test_the_same_may_go_on_and_another_may_not(tmp_path):
    begin(tmp_path / "out", SETUP)
    begin(tmp_path / "out", SETUP)
    other = SETUP.model_copy(update={"protocols": ("box",), "prompts": "a"})
    with pytest.raises(ConfigError, match="with other protocols, prompts"):
        begin(tmp_path / "out", other)


def test_cases_of_unknown_origin_are_refused(tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "a.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has cases but no asked\.json"):
        begin(tmp_path, SETUP)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        begin(tmp_path / "file" / "out", SETUP)


def test_ids_become_names_of_files_and_none_leaves_the_folder(tmp_path):
    assert file_name("set/case 1") == "set%2Fcase 1"
    assert case_path(tmp_path, "../../x").parent == tmp_path / "cases"


def test_names_that_no_file_may_have_are_shortened_and_stay_apart(tmp_path):
    """File systems take 255 bytes; a letter beyond ASCII is six of an escaped name."""
    names = [file_name("x" * 250), file_name("x" * 251), file_name("\u00fc" * 100), file_name("a\udcff")]
    assert len(set(names)) == 4 and all(len(name) < 220 for name in names)
    assert file_name("x" * 150) == "x" * 150
    case_path(tmp_path, "\u00fc" * 100).parent.mkdir()
    case_path(tmp_path, "\u00fc" * 100).write_text("{}")


@pytest.mark.parametrize("name", ["a\\b.nii.gz", "a\udcff.nii.gz", "c:x.nii.gz"])
def test_a_path_that_prompt_files_may_not_hold_is_one_that_they_may(tmp_path, name):
    prompt = Prompt((Point((1, 2, 3)),))
    found = PromptCase.of(relative(tmp_path / name, tmp_path), {"x": prompt}, fingerprint="f")
    assert found.image.endswith("nii.gz")


def test_half_a_file_is_no_case(tmp_path):
    (tmp_path / "a.json").write_text('{"format": 1, "case": "a", "rows": [')
    with pytest.raises(FileError, match="not readable as JSON"):
        read_casefile(tmp_path / "a.json")


def test_paths_to_scans_go_from_the_folder_with_forward_slashes(tmp_path):
    assert relative(tmp_path / "data" / "a.nii.gz", tmp_path / "out" / "x") == "../../data/a.nii.gz"
