"""A recipe followed phase by phase: what each changes, stops anywhere, a model that segments at the end."""

import json
import shutil

import pytest
import torch

import sam_moe
from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate
from sam_moe.moe.system import tensors_of
from sam_moe.systems.m4oe.train.following import END, follow
from sam_moe.systems.m4oe.train.learner import fresh_model
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from sam_moe.weights.files import read_state
from tests.systems.contract import digests
from tests.systems.m4oe.scans import phase, write_recipe

PHASES = ["1-trunk", "2-masked-mr", "3-gate", "4-together"]


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


def first_model(path):
    recipe = load_settings(M4oERecipe, path)
    return fresh_model(recipe.architecture, recipe.mixture, recipe.owners, recipe.seed)


def test_each_phase_changes_the_tensors_that_it_names_and_no_others(whole):
    model = first_model(whole.path)
    phases = {each.name: each for each in model.phases()}
    before = digests(model.state_dict())
    for folder in PHASES:
        after = digests(read_state(whole.run / folder / END))
        named = set(phases[folder[2:]].names(tensors_of(model)))
        changed = {name for name in before if after[name] != before[name]}
        # a bias before an instance norm is taken out again by it, so it may stay
        assert changed <= named and all("conv.bias" in name for name in named - changed), folder
        before = after
    assert set(before) == set(model.state_dict())


def test_the_result_is_the_last_phases_weights_in_the_numbers_that_the_recipe_stores(whole):
    assert whole.weights == whole.run / "model.safetensors"
    stored, last = read_state(whole.weights), read_state(whole.run / PHASES[-1] / END)
    for name, tensor in last.items():
        assert torch.equal(stored[name], tensor.half())
    assert {name for name in stored if name not in last} == {
        f"reference.{id}.{kind}" for id in ("neck", "brain") for kind in ("mean", "precision")
    }


def test_it_segments_a_scan_of_either_set(whole, data):
    model, names = sam_moe.load(whole.run), {"neck": {1: "cord", 2: "larynx"}, "brain": {1: "hippocampus"}}
    session = model.open(data / "neck_ct/images/c.nii.gz")
    for data_set, structures in names.items():
        found = session.segment(data_set)
        assert dict(found.names) == structures and found.labels.shape == (16, 14, 4)
    assert session.segment().likeness.distances.keys() == names.keys()


@pytest.fixture
def again(data, whole, tmp_path):
    """Runs the same recipe in another folder, stopped where `ends` says so."""
    run = tmp_path / "cut"
    path = write_recipe(data, run)
    shutil.copytree(whole.run / "slices", run / "slices")

    def start(*ends):
        seen = []

        def progress(stage, share):
            seen.append(stage)
            if (stage, share) in ends:
                raise Stopped

        try:
            follow(path, progress=progress)
        except Stopped:
            return [*dict.fromkeys(seen), "stopped"]
        return list(dict.fromkeys(seen))

    start.run = run
    return start


def test_stopped_in_two_phases_and_started_again_it_is_equal_to_the_bit(again, whole):
    """After half of the trunk, and in the last phase before its second step was kept."""
    assert again(("trunk", 0.5)) == ["trunk", "stopped"]
    assert again(("together", 2 / 3)) == ["trunk", "masked-mr", "gate", "together", "stopped"]
    assert again() == ["together", "measuring"]
    for folder in PHASES:
        mine, theirs = (read_state(run / folder / END) for run in (again.run, whole.run))
        assert digests(mine) == digests(theirs), folder
    assert (again.run / "model.safetensors").read_bytes() == whole.weights.read_bytes()
    cards = [json.loads((run / "card.json").read_text()) for run in (again.run, whole.run)]
    assert cards[0]["measured"] == cards[1]["measured"] and cards[0]["sets"] == cards[1]["sets"]


def test_what_is_finished_is_not_run_again(whole):
    logs = {folder: (whole.run / folder / "log.jsonl").read_bytes() for folder in PHASES}
    before, stages = whole.weights.read_bytes(), []
    follow(whole.path, progress=lambda stage, share: stages.append(stage))
    assert stages == ["measuring"] and whole.weights.read_bytes() == before
    assert {folder: (whole.run / folder / "log.jsonl").read_bytes() for folder in PHASES} == logs


def test_a_phase_begins_with_what_the_one_before_left_and_learns_from_its_own_sets(whole):
    """Masked images teach the MR expert from MR alone: CT's head and expert are as the trunk left them."""
    trunk, masked = (read_state(whole.run / folder / END) for folder in PHASES[:2])
    for name in trunk:
        if ".experts.mr." not in name:
            assert torch.equal(masked[name], trunk[name])
    assert whole.stages == ["reading scans", "trunk", "masked-mr", "gate", "together", "measuring"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("finetune", r"'finetune' is none of this model's: trunk, masked-ct, masked-mr, gate, together"),
        ("masked-pet", "'masked-pet' is none of this model's"),
        ("add-pet", "'add-pet' adds no expert of mixture.experts: ct, mr"),
    ],
)
def test_a_slip_in_the_last_phase_is_answered_before_the_first_one_runs(data, whole, tmp_path, name, message):
    run = tmp_path / "slip"
    shutil.copytree(whole.run / "slices", run / "slices")
    path = write_recipe(data, run, phases=[phase("trunk", 4), phase(name, 1)])
    with pytest.raises(ConfigError, match=message):
        follow(path)
    assert not (run / "1-trunk").exists()


def test_a_plain_network_is_trained_by_the_same_recipe(data, whole, tmp_path):
    """One expert for all: no gates, one phase, no references; the sets' own spacing and heads stay."""
    run = tmp_path / "plain"
    shutil.copytree(whole.run / "slices", run / "slices")
    sets = [{**each, "expert": "all"} for each in json.loads((whole.run / "card.json").read_text())["sets"]]
    sets = [{key: value for key, value in each.items() if key != "far"} for each in sets]
    path = write_recipe(data, run, mixture={"experts": ["all"]}, sets=sets, phases=[phase("trunk", 2)])
    assert not any("reference" in name for name in read_state(follow(path)))
    model = sam_moe.load(run)
    assert not any(isinstance(module, Gate) for module in model.network.module.modules())
    with pytest.raises(ConfigError, match="no reference by which a scan's data set is known"):
        model.open(data / "neck_ct/images/c.nii.gz").segment()
