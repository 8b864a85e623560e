"""A run's folder holds its recipe and its machines; its card says how it was made."""

import json
import logging

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import FileError
from sam_moe.systems.sam_med3d_moe.pretrain.settings import PretrainRecipe
from sam_moe.training.engine.machines import machines
from sam_moe.training.recipes.run import Command, begin, check_folder, made_by, reporting, write_recipe
from sam_moe.training.recipes.scans import keep_scans


@pytest.fixture
def short(recipe):
    """A recipe with seed 7 of two regions a step."""
    return load_settings(PretrainRecipe, recipe(seed=7))


def test_a_run_names_its_command_so_that_it_can_be_typed(short, tmp_path):
    keep_scans(short.data, "train", short.run)
    made = made_by(Command("finetune", tmp_path / "a b.yaml", ["x.y=[1, 2]"]), short, processes=1)
    assert made.command == f"sam-moe finetune '{tmp_path / 'a b.yaml'}' --set 'x.y=[1, 2]'"
    assert (made.seeds, made.hours, made.data) == ((7,), 0, ("balls", "maps"))


def test_a_run_begun_by_another_recipe_says_what_changed(recipe, tmp_path, caplog):
    first = load_settings(PretrainRecipe, recipe())
    with caplog.at_level(logging.WARNING):
        write_recipe(first, tmp_path)
        write_recipe(first, tmp_path)
        assert caplog.text == ""
        write_recipe(first.model_copy(update={"seed": 9}), tmp_path)
    assert "changes to: seed" in caplog.text


def test_hours_are_those_of_the_log_and_those_before_it(short):
    short.run.mkdir()
    keep_scans(short.data, "train", short.run)
    rows = [{"step": 3, "loss": 1.0, "seconds": 1800.0}, {"step": 6, "loss": 1.0, "seconds": 900.0}]
    (short.run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert made_by(Command("finetune", short.run), short, 1, hours_before=2.0).hours == 2.75


def test_a_run_begins_on_this_machine_with_the_next_seed(short):
    short.run.mkdir()
    found = begin(short)
    assert (found.folder, found.seed) == (short.run, 8) and len(machines(short.run)) == 1


def test_progress_is_the_share_of_the_steps(short):
    met = []
    reporting(short, lambda stage, share: met.append((stage, share)), "learning").row(
        {"step": 3, "steps": 12}
    )
    assert met == [("learning", 0.25)]


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        check_folder(tmp_path / "file" / "run")
