"""From a recipe and a data folder to a model that `sam_moe.load` takes."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import sam_moe
from sam_moe.config import load_settings
from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.prompts.prompt import Box
from sam_moe.registry import read_card
from sam_moe.space.files import read
from sam_moe.systems.sam_med3d_moe.pretrain.prepared import START, train_prepared
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain
from sam_moe.systems.sam_med3d_moe.pretrain.settings import PretrainRecipe
from sam_moe.weights.files import read_metadata, read_state, save_weights

ROOT = Path(__file__).resolve().parents[4]
LEFT_TO_THE_START = ("architecture", "preprocessing")


@pytest.mark.slow
def test_a_recipe_ends_in_a_model_that_answers(recipe, folder, sizes, tmp_path):
    met = []
    path = pretrain(recipe(), ["seed=3"], lambda *progress: met.append(progress))
    run = tmp_path / "run"
    assert path == run / "model.safetensors"
    names = {"recipe.yaml", "log.jsonl", "model.safetensors", "best.safetensors", "card.json", "checkpoint"}
    assert names <= {p.name for p in run.iterdir()}
    assert load_settings(PretrainRecipe, run / "recipe.yaml").seed == 3
    # the kept step is the one with the highest score in the log, and the card says so
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    scores = {row["step"]: row["score"] for row in rows if "score" in row}
    assert list(scores) == [3, 6]
    step = max(scores, key=scores.get)
    card = read_card(run / "card.json")
    assert read_metadata(path) == {"step": str(step)}
    assert card.measured[-1].value == scores[step] and f"step {step};" in card.measured[-1].protocol
    assert card.measured[0].data == "4 regions of the validation part of splits.json"
    assert card.made_by.command == f"sam-moe pretrain '{tmp_path / 'my recipe.yaml'}' --set seed=3"
    assert card.made_by.seeds == (3,) and card.made_by.data == ("balls", "maps")
    assert card.made_by.hours == pytest.approx(sum(row["seconds"] for row in rows) / 3600, abs=1e-3)
    assert met == [("training", row["step"] / 6) for row in rows]
    # strictly the model, and it answers on a scan of the folder
    best = read_state(run / "best.safetensors")
    model = load_model(path, sizes)
    assert all(torch.equal(v, best[k].half().float()) for k, v in model.state_dict().items())
    scan = read(folder / "balls" / "c.nii.gz")
    answer = sam_moe.load(run, device="cpu").open(scan).predict(Box((6, 5, 4), (18, 15, 12)))
    assert answer.mask.shape == scan.array.shape and torch.isfinite(answer.probability.array).all()


@pytest.mark.slow
def test_started_again_it_goes_on_and_started_once_more_it_is_done(recipe, tmp_path):
    class Stopped(Exception):
        pass

    def stop(stage, share):
        if share == 0.5:
            raise Stopped

    whole = pretrain(recipe(run=str(tmp_path / "whole"))).read_bytes()
    with pytest.raises(Stopped):
        pretrain(recipe(), progress=stop)
    assert pretrain(recipe()).read_bytes() == whole
    met = []
    assert pretrain(recipe(), progress=lambda *progress: met.append(progress)).read_bytes() == whole
    assert met == []


@pytest.mark.slow
def test_without_validation_the_last_weights_are_shipped_in_full_precision_if_asked(recipe, tmp_path):
    path = pretrain(recipe(store="float32", validation_crops=0, schedule={"steps": 2}))
    card = read_card(path.with_name("card.json"))
    assert card.measured == () and card.weights.dtype == "float32"
    average = torch.load(tmp_path / "run" / "checkpoint" / "custom_checkpoint_0.pkl")
    assert all(torch.equal(tensor, average[name]) for name, tensor in read_state(path).items())


@pytest.fixture
def onward(recipe, without_corners):
    """Makes a recipe that goes on from a model without corner embeddings, and leaves to it what it knows."""

    def make(**changes):
        path = recipe(start=str(without_corners), schedule={"steps": 2}, validate_every=2, **changes)
        table = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({k: v for k, v in table.items() if k not in LEFT_TO_THE_START}))
        return path

    return make


@pytest.mark.slow
def test_a_training_goes_on_from_a_model_and_keeps_what_its_card_says(onward, without_corners, tmp_path):
    start = read_card(without_corners / "card.json")
    path = pretrain(onward(), ["schedule.learning_rate=1e-9", "store=float32"])
    card = read_card(path.with_name("card.json"))
    assert (card.architecture, card.preprocessing) == (start.architecture, start.preprocessing)
    assert card.default_box_strategy == start.default_box_strategy
    asked = "a box by its middle" if start.default_box_strategy == "center" else "a box drawn as a mask"
    assert {m.protocol.split("asked by ")[-1].split(";")[0].split(",")[0] for m in card.measured[:-1]} == {
        "a click",
        asked,
    }
    # two steps of next to nothing: weights that began at random would be far away
    first = read_state(without_corners / "model.safetensors")
    for name, tensor in read_state(path).items():
        torch.testing.assert_close(tensor, first[name].float(), atol=1e-6, rtol=0)
    assert pretrain(onward(), ["schedule.learning_rate=1e-9", "store=float32"]) == path  # once more: done


@pytest.mark.slow
def test_a_training_goes_on_on_a_bare_machine_from_the_weights_in_its_folder(onward, tmp_path):
    run = pretrain(onward(), prepare=True)
    assert train_prepared(run).step == 2
    (run / "checkpoint").rename(run / "gone")
    (run / "best.safetensors").unlink()
    state = read_state(run / START)
    save_weights({name: tensor + 1 for name, tensor in state.items()}, run / START)
    with pytest.raises(ConfigError, match=r"start\.safetensors: holds a model with the fingerprint .* plan"):
        train_prepared(run)


@pytest.mark.slow
def test_a_training_is_not_gone_on_with_from_another_start(recipe, onward, tmp_path):
    pretrain(onward())
    with pytest.raises(ConfigError, match=r"was begun from a model .*, and `start` now gives nothing"):
        pretrain(recipe(architecture={"corner_embeddings": False}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["card.id=plain-mask"], r"card\.id: 'plain-mask' is the start's"),
        (["start=null"], r"architecture is missing; add it, or name a model to go on from by `start`"),
        (["card.default_box_strategy=corners"], r"'corners' needs architecture\.corner_embeddings"),
        (["start=missing"], r"no model with id 'missing'"),
        (
            ["preprocessing={region_voxels: 32, spacing_mm: 3.0, normalisation: mean}"],
            r"region_voxels 32 must equal",
        ),
    ],
)
@pytest.mark.parametrize("without_corners", ["mask"], indirect=True)
def test_a_start_that_does_not_fit_is_refused_before_anything_is_written(onward, tmp_path, changes, message):
    with pytest.raises(SamMoeError, match=message):
        pretrain(onward(), changes)
    assert not (tmp_path / "run").exists()


def test_another_architecture_than_the_starts_is_refused(recipe, without_corners):
    with pytest.raises(ConfigError, match=r"architecture: is not that of .*plain-.*Leave it out"):
        pretrain(recipe(start=str(without_corners)))


@pytest.mark.slow
def test_what_is_left_out_later_is_not_learnt_from_an_old_cache(recipe, tmp_path, caplog):
    short = {"schedule": {"steps": 1}, "validation_crops": 0}
    pretrain(recipe(**short))
    pretrain(recipe(**short, data={"leave_out": ["box"]}))
    assert "going on in" in caplog.text and "changes to: data" in caplog.text
    from sam_moe.training.scans.cache import read_cache

    assert [s.structures for s in read_cache(tmp_path / "run" / "train.safetensors")][:2] == [{1: "ball"}] * 2


@pytest.mark.slow
def test_a_cache_that_was_taken_along_needs_no_data_unless_it_holds_what_is_left_out(recipe, folder, splits):
    import shutil

    short = {"schedule": {"steps": 2}, "validation_crops": 0}
    pretrain(recipe(**short), ["schedule.steps=1"])
    shutil.rmtree(folder)
    splits.unlink()
    assert pretrain(recipe(**short)).is_file()
    with pytest.raises(ConfigError, match=r"train\.safetensors was read with other structures left out"):
        pretrain(recipe(**short, data={"leave_out": ["box"]}))


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        ({"validation_crop": 3}, [], r"validation_crop: unknown key; did you mean 'validation_crops'"),
        (
            {},
            ["schedule.step=3"],
            r"--set schedule\.step=3: schedule\.step: unknown key; did you mean 'steps'",
        ),
        ({}, ["preprocessing.region_voxels=32"], r"region_voxels 32 must equal architecture\.image_size 16"),
        (
            {"architecture": {"corner_embeddings": False}},
            ["card.default_box_strategy=corners"],
            r"default_box_strategy 'corners' needs architecture\.corner_embeddings",
        ),
        ({"architecture": {"patch_size": 2}}, [], r"patch_size 2 must be a multiple of 4"),
        ({"card": {"id": "Not An Id"}}, [], r"card\.id: "),
        ({}, ["store=int8"], r"store: "),
        ({}, ["tracker=nonsense"], r"tracker 'nonsense' is not installed"),
        ({}, ["data.folder=/nowhere"], r"there is no .*nowhere"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(recipe, changes, overrides, message):
    with pytest.raises(ConfigError, match=message):
        pretrain(recipe(**changes), overrides)


def test_nothing_to_learn_is_refused(recipe):
    with pytest.raises(ConfigError, match=r"the train part holds no structure to learn"):
        pretrain(recipe(data={"leave_out": ["ball", "box", "label 1", "label 2"]}))


def test_a_weight_for_a_set_that_is_not_there_is_warned_of(recipe, caplog):
    pretrain(recipe(validation_crops=0, schedule={"steps": 1}, data={"weights": {"bals": 2.0}}))
    assert "data.weights names sets without a case to learn from: bals" in caplog.text


SHIPPED = [
    path
    for path in sorted(ROOT.glob("checkpoints/*/recipe.yaml"))
    if "architecture:" in (text := path.read_text("utf-8")) and "system:" not in text
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parent.name)
def test_the_recipes_that_ship_can_be_followed(path):
    recipe = load_settings(PretrainRecipe, path)
    assert recipe.card.id == path.parent.name
