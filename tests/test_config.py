"""Settings come back as written, overrides win in order, and a wrong key names its nearest neighbour."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from sam_moe.config import Settings, dump_settings, load_settings, nearest_first, read_json
from sam_moe.errors import ConfigError


class Optimiser(Settings):
    """How weights move."""

    lr: float = Field(1e-3, gt=0, description="Step size.")
    steps: int = 10


class Recipe(Settings):
    """A recipe as tests need one."""

    name: str
    optimiser: Optimiser = Optimiser()
    seeds: tuple[int, ...] = (0,)
    note: str = ""


def written(folder, text: str):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


recipes = st.builds(
    Recipe,
    name=st.text(),
    optimiser=st.builds(Optimiser, lr=st.floats(1e-12, 1e12), steps=st.integers()),
    seeds=st.lists(st.integers()).map(tuple),
    note=st.text(),
)


@given(recipes)
def test_what_ran_reads_back_equal(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("ran") / "settings.yaml"
    dump_settings(recipe, path)
    assert load_settings(Recipe, path) == recipe


def test_defaults_fill_what_the_file_leaves_out(tmp_path):
    assert load_settings(Recipe, written(tmp_path, "name: a\noptimiser: {steps: 3}")) == Recipe(
        name="a", optimiser=Optimiser(lr=1e-3, steps=3)
    )


def test_overrides_win_and_the_last_one_most(tmp_path):
    path = written(tmp_path, "name: a\noptimiser: {lr: 0.5, steps: 3}")
    recipe = load_settings(
        Recipe, path, ["optimiser.lr=1e-4", "seeds=[1, 2]", "note=x=y", "optimiser.lr=2e-4"]
    )
    assert recipe == Recipe(name="a", optimiser=Optimiser(lr=2e-4, steps=3), seeds=(1, 2), note="x=y")


def test_no_file_means_defaults_and_overrides():
    assert load_settings(Recipe, None, ["name=b"]) == Recipe(name="b")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: a\nsede: [1]", r"recipe\.yaml: sede: unknown key; did you mean 'seeds'\? Known here: seeds"),
        ("name: a\noptimiser: {l: 1}", r"recipe\.yaml: optimiser\.l: unknown key; did you mean 'lr'\?"),
        ("name: a\noptimiser: {lr: -1}", r"recipe\.yaml: optimiser\.lr: .*greater than 0, not -1"),
        ("name: a\noptimiser: {lr: .nan}", r"recipe\.yaml: optimiser\.lr: .*finite"),
        ("seeds: [1]", r"recipe\.yaml: name: missing; add it"),
        ("name: a\nname: b", r"recipe\.yaml: not readable as YAML: key 'name' is given twice"),
        ("name: [", r"recipe\.yaml: not readable as YAML"),
        ("- a\n- b", r"recipe\.yaml: expected 'key: value' lines, found a list"),
        (
            "name: !!python/object/apply:os.getcwd []",
            r"recipe\.yaml: not readable as YAML: could not determine",
        ),
        ("", r"recipe\.yaml: name: missing"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path, text, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_settings(Recipe, written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "optimiser.stepps=3",
            r"^--set optimiser\.stepps=3: optimiser\.stepps: unknown key; did you mean 'steps'\?",
        ),
        ("optimiser.steps=many", r"^--set optimiser\.steps=many: optimiser\.steps: .*integer.*'many'"),
        ("steps", r"^--set steps: expected KEY=VALUE"),
        (".steps=1", r"^--set \.steps=1: expected KEY=VALUE"),
        ("name.first=x", r"^--set name\.first=x: name is a value, not a group"),
        ("name=[", r"^--set name=\[: the value is not readable as YAML"),
    ],
)
def test_a_wrong_override_is_named_rather_than_the_file(tmp_path, override, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load_settings(Recipe, written(tmp_path, "name: a"), [override])


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        load_settings(Recipe, tmp_path / "absent.yaml")


def test_settings_cannot_be_changed_after_they_were_checked():
    with pytest.raises(ValueError, match="frozen"):
        Recipe(name="a").name = "b"


def test_the_nearest_name_comes_first_and_all_are_kept():
    assert nearest_first("tny", ["general", "tiny", "sam-med3d-turbo"])[0] == "tiny"
    assert sorted(nearest_first("x", ["b", "a"])) == ["a", "b"]


def test_json_nested_too_deep_is_an_error_of_the_file(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ConfigError, match=r"deep\.json: not readable as JSON"):
        read_json(Recipe, tmp_path / "deep.json", ConfigError)


def test_an_override_changes_what_it_names_and_not_what_shares_an_alias(tmp_path):
    class Two(Settings):
        first: Optimiser
        second: Optimiser

    path = written(tmp_path, "first: &it {steps: 3}\nsecond: *it")
    both = load_settings(Two, path, ["first.steps=5"])
    assert (both.first.steps, both.second.steps) == (5, 3)


@pytest.mark.parametrize("text", ["[]", "0", "false", "''"])
def test_a_file_that_holds_something_else_is_not_taken_for_an_empty_one(tmp_path, text):
    with pytest.raises(ConfigError, match="expected 'key: value' lines"):
        load_settings(Recipe, written(tmp_path, text), ["name=a"])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.json").write_text('{"name": "a"}', encoding="utf-8-sig")
    (tmp_path / "a.yaml").write_text("name: a", encoding="utf-8-sig")
    assert read_json(Recipe, tmp_path / "a.json", ConfigError) == Recipe(name="a")
    assert load_settings(Recipe, tmp_path / "a.yaml") == Recipe(name="a")


def test_another_encoding_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a", encoding="utf-16")
    with pytest.raises(
        ConfigError, match=r"a\.yaml: the text is UTF-16\. Expected UTF-8; open it in an edit"
    ):
        load_settings(Recipe, tmp_path / "a.yaml")


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_is_refused_at_once(tmp_path, link):
    path = tmp_path / "a.json"
    os.mkfifo(tmp_path / "pipe")
    path.symlink_to("pipe") if link else (tmp_path / "pipe").rename(path)
    for read in (
        lambda: read_json(Recipe, path, ConfigError),
        lambda: load_settings(Recipe, path),
    ):
        with pytest.raises(ConfigError, match="is a pipe"):
            read()


def test_a_device_without_end_is_refused_at_once():
    with pytest.raises(ConfigError, match="is a device"):
        load_settings(Recipe, "/dev/zero")
