"""One training goes on in its folder, counts what the processors spent, and is read back as it was kept."""

import pytest

from benchmarks.mixture.m4oe.recipes import variant
from benchmarks.mixture.m4oe.training import ProcessorClock, losses_of, of_part, read_record, trained
from benchmarks.mixture.m4oe.variants import read_base
from sam_moe.assemble.load import load_automatic
from sam_moe.config import load_settings
from sam_moe.progress import silent
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from tests.benchmarks.mixture.m4oe.tiny import write_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished training of the variant `hard`: its folder and its record."""
    folder = tmp_path_factory.mktemp("training")
    base = read_base(write_recipe(folder), folder / "data")
    data = variant(base, "hard", 4, 0)
    return folder, data, trained("hard", data, folder / "hard", folder / "slices", silent)


@pytest.mark.slow
def test_a_finished_training_is_read_back_and_its_model_loads(made):
    folder, data, record = made
    assert read_record(folder / "hard") == record
    assert trained("hard", data, folder / "hard", folder / "slices", silent) == record
    assert load_automatic(folder / "hard", device="cpu").id == "auto-hard-0"


@pytest.mark.slow
def test_test_scans_are_those_of_the_test_part_alone(made):
    _, data, _ = made
    recipe = M4oERecipe.model_validate({**data, "run": "x"})
    parts = {s.part for each in of_part(recipe.data, "test").sets.values() for s in each.validation}
    assert parts == {"test"}
    assert {s.part for each in recipe.data.sets.values() for s in each.validation} == {"validation"}


@pytest.mark.slow
def test_prepared_slices_are_shared_by_all_trainings(made):
    folder, _, _ = made
    assert (folder / "hard" / "slices").resolve() == (folder / "slices").resolve()
    assert (folder / "slices" / "train" / "cases.json").is_file()


@pytest.mark.slow
def test_losses_are_means_between_checkpoints(tmp_path, made):
    _, data, _ = made
    recipe = M4oERecipe.model_validate(
        {**data, "run": "x", "phases": [{"phase": "trunk", "schedule": {"steps": 16}}]}
    )
    (tmp_path / "1-trunk").mkdir()
    rows = [f'{{"step": {step}, "loss": {step}.0}}\n' for step in (1, 2, 3, 4, 16)]
    (tmp_path / "1-trunk" / "log.jsonl").write_text("".join(rows))
    assert losses_of(tmp_path, recipe) == {2: 1.5, 4: 3.5, 16: 16.0}


def test_steps_that_are_run_again_count_once(tmp_path):
    first = ProcessorClock(tmp_path, silent)
    for share in (0.25, 0.5):
        sum(range(200_000))
        first("trunk", share)
    again = ProcessorClock(tmp_path, silent)
    assert again.seconds(["trunk"]) == first.seconds(["trunk"]) > 0
    again("trunk", 0.5)
    again("measuring", 0.0)
    assert len(again.spent) == 3 and again.seconds(["gate"]) == 0


@pytest.mark.slow
def test_a_recipe_that_was_read_finds_its_splits_from_anywhere(made):
    folder, _, _ = made
    asked = load_settings(M4oERecipe, folder / "hard" / "asked.yaml")
    assert all(s.splits.startswith("/") for each in asked.data.sets.values() for s in each.train)
