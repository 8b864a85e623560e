"""The folder of a walk: checkpoints as the public one is laid out, recipes and cards that can be read."""

import json

import pytest
import torch
import yaml

from benchmarks.commands import doors, doors_walk
from benchmarks.commands.doors_walk import EXPERTS, ID, KIN, PARTS
from sam_moe.cases.dataset import read_dataset
from sam_moe.prompts import promptset
from sam_moe.space.files import read


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return doors_walk.lay_out(tmp_path_factory.mktemp("walk"), KIN)


def test_the_scans_are_parts_of_the_demonstrations_with_their_labels(place):
    for case in read_dataset(place.data):
        scan, label = read(case.image), read(case.label)
        part = PARTS[case.image.parent.name]
        assert scan.grid.shape == label.grid.shape == tuple(edge.stop - edge.start for edge in part)
        assert len(label.array.unique()) > 1


def test_the_structures_that_experts_learn_or_examples_show_are_in_their_scans(place):
    found = {}
    for case in read_dataset(place.data):
        values = set(read(case.label).array.unique().tolist())
        there = {name for value, name in case.names.items() if value in values}
        found[case.image.parent.name.upper()] = there
    for name in ("decoder", "lora", "adapter"):
        structure, modality = EXPERTS[name]
        assert structure in found[modality]


def test_a_tuned_checkpoint_differs_in_its_part_alone(place):
    public = torch.load(place.root / "public.pth", weights_only=True)["model_state_dict"]
    for name, part in (("tuned", "mask_decoder."), ("full", "image_encoder.")):
        state = torch.load(place.root / f"{name}.pth", weights_only=True)
        assert {key.removeprefix("_orig_mod.") for key in state} == public.keys()
        changed = {key for key in public if not torch.equal(state[f"_orig_mod.{key}"], public[key])}
        assert changed and all(key.startswith(part) for key in changed)


def test_random_weights_are_the_same_for_the_same_seed_and_leave_the_callers_generator():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = doors_walk.random_state(KIN.sizes, 0)
    assert torch.equal(torch.rand(3), wanted)
    again, other = doors_walk.random_state(KIN.sizes, 0), doors_walk.random_state(KIN.sizes, 1)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_the_adapter_has_two_halves_of_rank_four_for_each_layer(place):
    halves = torch.load(place.root / "adapter" / "adapter_model.bin", weights_only=True)
    layers = {name.rpartition(".lora_")[0] for name in halves}
    assert len(halves) == 2 * len(layers) > 0
    for layer in layers:
        assert halves[f"{layer}.lora_A.weight"].shape[0] == halves[f"{layer}.lora_B.weight"].shape[1] == 4


def test_each_door_makes_a_thing_of_its_own_and_has_a_name_of_its_own(place):
    every = list(doors_walk.doors(place))
    assert len({door.name for door in every}) == len(every) > 20
    made = [door.made for door in every if door.name != "experts check"]
    assert len(set(made)) == len(made)
    assert {word for door in every for word in door.words[:1]} >= {
        "convert", "predict", "finetune", "experts", "train-gate", "evaluate", "pretrain",
    }  # fmt: skip
    prompts = promptset.read(place.root / "prompts.json")  # written on the way
    assert [target.name for target in prompts.cases[0].targets] == ["right kidney", "liver"]


def test_recipes_name_the_walks_own_folders(place):
    for name in ("decoder", "lora", "gate", "onward"):
        recipe = yaml.safe_load((place.root / f"{name}.yaml").read_text("utf-8"))
        assert recipe["run"] == str(place.run(name)) and recipe["data"]["folder"].startswith(str(place.root))
        assert recipe.get("base", recipe.get("start")) == ID


def test_what_a_door_left_is_weighed_whether_file_or_folder(tmp_path):
    (tmp_path / "made" / "inner").mkdir(parents=True)
    (tmp_path / "made" / "a").write_bytes(b"x" * 500_000)
    (tmp_path / "made" / "inner" / "b").write_bytes(b"x" * 1_500_000)
    assert doors._size_mb(tmp_path / "made") == 2.0
    assert doors._size_mb(tmp_path / "made" / "a") == 0.5


def test_details_are_what_the_files_keep(tmp_path):
    assert doors.details_of(tmp_path) == ""
    (tmp_path / "tables.json").write_text(json.dumps({"train": 1.5, "validation": 0.5}))
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"samples_per_s": 4.0}\n{"samples_per_s": 8.0}\n')
    assert doors.details_of(tmp_path) == "tables 2.0 s, 0.25 s a sample"
    mask = tmp_path / "a.nii.gz"
    spent = {"targets": [{"timings_ms": {"encode": 1500.0, "decode": 20.0}}]}
    (tmp_path / "a.run.json").write_text(json.dumps(spent))
    assert doors.details_of(mask) == "encode 1.50 s and decode 0.02 s"


def test_a_row_has_its_figures_in_columns():
    row = str(doors.Passed("convert", 1.25, 2.5, 1024, 0.5, ""))
    assert row.split() == ["convert", "1.2", "2.5", "1,024", "0.5"]
