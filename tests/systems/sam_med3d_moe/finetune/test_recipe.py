"""From a recipe and labelled scans to an expert that `sam-moe experts add` takes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.lora import load_lora
from sam_moe.registry import read_card
from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import add_expert, check_expert
from sam_moe.systems.sam_med3d_moe.experts.decoder import Decoder
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded
from sam_moe.systems.sam_med3d_moe.finetune.expert import ExpertLoss, ExpertValidation
from sam_moe.systems.sam_med3d_moe.finetune.recipe import finetune
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.systems.sam_med3d_moe.outcome import of_expert
from sam_moe.training.engine.seeds import prompt_rng
from sam_moe.training.scans.cache import read_cache
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_metadata, read_state, save_weights

ROOT = Path(__file__).resolve().parents[4]
LORA = {"kind": "lora", "lora": {"rank": 2, "alpha": 4.0, "per_layer": {"output_upscaling.0": 3}}}
SHIPPED = [p for p in sorted(ROOT.glob("checkpoints/*/recipe.yaml")) if "covers:" in p.read_text("utf-8")]


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


@pytest.fixture
def cards(backbone, monkeypatch):
    """The general model ships, and nothing else."""
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(backbone.parent))
    return backbone.parent


def stop_at(share):
    def progress(stage, done):
        if stage == "training" and done >= share:
            raise Stopped

    return progress


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, LORA], ids=["decoder", "lora"])
def test_a_base_without_corner_embeddings_is_finetuned_by_its_cards_box_strategy(task, without_corners, how):
    words = {"mask": "a box drawn as a mask", "center": "a box by its middle"}
    box = words[read_card(without_corners / "card.json").default_box_strategy]
    few = {"steps": 2, "batch_size": 2}
    run = finetune(task(base=str(without_corners), schedule=few, validate_every=2, **how)).parent
    lines = of_expert(read_card(run / "card.json")).text.splitlines()[1:-1]
    assert [line.split(", ")[0].split("  ")[0] for line in lines] == ["a click", box] * 3 + ["mean"]


@pytest.mark.slow
def test_a_recipe_ends_in_an_expert_that_is_taken(task, cards, backbone, tmp_path):
    met = []
    before = fingerprint(load_backbone(find_backbone(backbone)))
    path = finetune(task(), ["seed=3"], lambda stage, share: met.append((stage, share)))
    run = tmp_path / "expert"
    assert path == run / "model.safetensors"
    assert load_settings(FinetuneRecipe, run / "recipe.yaml").seed == 3
    card = read_card(run / "card.json")
    assert (card.id, card.expert_kind, card.weights.dtype) == ("ball", "decoder", "float16")
    assert (card.base.id, card.base.sha256) == ("general", before)
    assert card.made_by.command == f"sam-moe finetune '{tmp_path / 'my task.yaml'}' --set seed=3"
    assert card.made_by.seeds == (3,) and card.made_by.data == ("balls", "maps")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    scores = {row["step"]: row["score"] for row in rows if "score" in row}
    best = max(scores, key=scores.get)
    assert list(scores) == [3, 6] and read_metadata(path) == {"step": str(best)}
    own, general = (
        [m for m in card.measured if ("the general model general itself" in m.protocol) == theirs]
        for theirs in (False, True)
    )
    assert len(own) == len(general) == 10 and own[-1].value == scores[best]
    assert {m.data for m in card.measured} == {"4 regions of the validation part of splits.json"}
    assert ("embedding regions", 1.0) in met and met[-1] == ("training", 1.0)
    # the labels of two sets were united under one name
    scans = read_cache(run / "train.safetensors")
    assert [scan.structures for scan in scans] == [{1: "ball"}] * 3
    # taken, and what it holds is the kept decoder
    entry = add_expert(run, folder=tmp_path / "mine")
    assert "general" in str(check_expert(entry))
    kept = read_state(run / "best.safetensors")
    state = read_state(path)
    assert {name.removeprefix("mask_decoder.") for name in state} == set(kept)
    assert all(torch.equal(t, kept[name.removeprefix("mask_decoder.")].half()) for name, t in state.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, LORA], ids=["decoder", "lora"])
def test_started_again_it_goes_on_bit_for_bit_and_once_more_it_is_done(task, tmp_path, kind):
    whole = finetune(task(run=str(tmp_path / "whole"), **kind)).read_bytes()
    with pytest.raises(Stopped):
        finetune(task(**kind), progress=stop_at(0.5))
    embedded = (tmp_path / "expert" / "train.embedded.safetensors").stat().st_mtime_ns
    assert finetune(task(**kind)).read_bytes() == whole
    stages = set()
    assert finetune(task(**kind), progress=lambda stage, share: stages.add(stage)).read_bytes() == whole
    assert stages == {"reading the train part", "reading the validation part"}
    assert (tmp_path / "expert" / "train.embedded.safetensors").stat().st_mtime_ns == embedded


@pytest.mark.slow
def test_a_changed_recipe_is_embedded_again_only_where_regions_change(task, tmp_path):
    file = tmp_path / "expert" / "train.embedded.safetensors"

    def made(**changes):
        finetune(task(**{"schedule": {"steps": 1}, "validation_regions": 0, **changes}))
        return file.stat().st_mtime_ns

    first = made()
    assert made(corrections=[1.0], store="float32") == first
    fewer = made(regions=7)
    assert fewer != first and Embedded(file).count == 7
    assert made(regions=7, data={"spoil_share": 0.0}) != fewer


@pytest.mark.slow
def test_deltas_are_taken_checked_and_loaded_as_they_were_learnt(task, cards, backbone, tmp_path):
    path = finetune(task(**LORA, store="float32"))
    entry = add_expert(path.parent, folder=tmp_path / "mine")
    assert check_expert(entry).entry.card.lora.per_layer == {"output_upscaling.0": 3}
    base = load_backbone(find_backbone(backbone))
    tuned = load_lora(base.mask_decoder, read_state(entry.folder / entry.card.weights.file), 4.0)
    again = ExpertValidation(base, tuned, Embedded(path.with_name("validation.embedded.safetensors")))
    assert again(tuned.state_dict())["score"] == pytest.approx(entry.card.measured[9].value, abs=1e-4)


@pytest.mark.slow
def test_an_expert_is_better_than_the_general_model_on_its_task(task):
    more = {"steps": 60, "batch_size": 4, "warmup": 5, "learning_rate": 0.003, "average": 0.9}
    path = finetune(task(schedule=more, regions=48, validation_regions=16, validate_every=30))
    card = read_card(path.with_name("card.json"))
    assert card.measured[9].value > card.measured[19].value + 0.1


@pytest.mark.slow
def test_several_structures_are_learnt_together_and_one_after_the_other(task, tmp_path):
    few = {"schedule": {"steps": 2}, "validation_regions": 0, "regions": 4}
    both = {"structures": {"ball": ["ball"], "brick": ["box"]}}
    finetune(task(data=both, **few))
    assert read_cache(tmp_path / "expert" / "train.safetensors")[0].structures == {1: "ball", 2: "brick"}
    first = finetune(task(**few, store="float32"))
    second = str(tmp_path / "second")
    still = {"steps": 1, "learning_rate": 1e-30}
    onward = finetune(
        task(**{**few, "schedule": still}, run=second, start=str(first.parent), store="float32")
    )
    a, b = read_state(first), read_state(onward)
    assert all(torch.allclose(b[name], tensor, atol=1e-7) for name, tensor in a.items())
    other = {**LORA, "run": str(tmp_path / "third"), "start": str(first.parent)}
    with pytest.raises(ConfigError, match="ball has a decoder of its own, and the recipe asks for"):
        finetune(task(**few, **other))


@pytest.mark.slow
def test_an_expert_of_another_base_is_no_start(task, backbone, change, tmp_path):
    path = finetune(task(validation_regions=0, schedule={"steps": 1}))
    change(path.with_name("card.json"), lambda card: card["base"].update(sha256="0" * 64))
    with pytest.raises(
        ConfigError, match=r"start: ball grew on another general than .*expected [0-9a-f]{64}"
    ):
        finetune(task(run=str(tmp_path / "next"), start=str(path.parent)))


@pytest.mark.slow
def test_a_run_begun_on_another_base_is_not_gone_on_with(task, backbone, change, tmp_path):
    few = {"validation_regions": 0, "schedule": {"steps": 1}}
    path = finetune(task(**few))
    before, weights = path.read_bytes(), backbone / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in read_state(weights).items()}
    state["mask_decoder.iou_token.weight"] += 1
    save_weights(state, weights)
    change(backbone / "card.json", lambda card: card["weights"].update(sha256=sha256_of(weights)))
    change(backbone / "card.json", lambda card: card["weights"].update(size_bytes=weights.stat().st_size))
    with pytest.raises(ConfigError, match=r"expert: was begun on a general model with .*another folder"):
        finetune(task(**few))
    assert path.read_bytes() == before
    shutil.rmtree(path.parent / "checkpoint")
    assert finetune(task(**few)).read_bytes() != before


@pytest.mark.slow
def test_a_run_begun_from_an_expert_that_was_trained_again_is_not_gone_on_with(task, tmp_path):
    few = {"validation_regions": 0, "regions": 4, "schedule": {"steps": 1}}
    first = finetune(task(**few))
    onward = {**few, "run": str(tmp_path / "second"), "start": str(first.parent)}
    before = finetune(task(**onward)).read_bytes()
    assert finetune(task(**onward)).read_bytes() == before
    shutil.rmtree(first.parent)
    finetune(task(**{**few, "seed": 5}))
    with pytest.raises(
        ConfigError, match=r"second: was begun from an expert with .*was trained again, or is"
    ):
        finetune(task(**onward))
    with pytest.raises(ConfigError, match=r"`start` now gives \(none\)"):
        finetune(task(**{**onward, "start": None}))
    shutil.rmtree(tmp_path / "second" / "checkpoint")
    assert finetune(task(**onward)).read_bytes() != before


@pytest.mark.slow
def test_scans_that_changed_are_embedded_again_and_those_that_were_touched_are_not(task, folder, tmp_path):
    few = {"validation_regions": 0, "regions": 4, "schedule": {"steps": 1}}
    file = tmp_path / "expert" / "train.embedded.safetensors"
    finetune(task(**few))
    first = file.stat().st_mtime_ns
    os.utime(folder / "balls" / "a.nii.gz", ns=(0, 0))
    finetune(task(**few))
    assert file.stat().st_mtime_ns == first
    shutil.copy(folder / "balls" / "b.nii.gz", folder / "balls" / "a.nii.gz")
    finetune(task(**few))
    assert file.stat().st_mtime_ns != first


def test_what_a_part_lacks_is_reported_once_and_before_anything_is_embedded(task, tmp_path, caplog):
    stages = []
    structures = {"ball": ["maps/label 1"]}
    with pytest.raises(ConfigError, match=r"the validation part of .* holds no voxel of ball"):
        finetune(
            task(data={"structures": structures, "weights": {}}),
            progress=lambda stage, share: stages.append(stage),
        )
    assert stages == ["reading the train part", "reading the validation part"]
    with pytest.raises(ConfigError, match=r"the train part of .* holds no voxel of moon"):
        finetune(task(data={"structures": {"ball": ["ball"], "moon": ["moon"]}}))
    assert [r for r in caplog.records if r.levelname == "WARNING" and "moon" in r.getMessage()] == []


@pytest.mark.parametrize("wrong", ["data.folder=/nowhere", "data.splits=/nowhere.json"])
def test_a_start_that_finds_no_data_leaves_no_folder_behind(task, tmp_path, wrong):
    with pytest.raises(ConfigError, match="nowhere"):
        finetune(task(), [wrong])
    assert not (tmp_path / "expert").exists()


def test_a_start_after_one_whose_structures_were_not_there_is_no_change(task, tmp_path, caplog):
    with pytest.raises(ConfigError, match="no voxel of moon"):
        finetune(task(data={"structures": {"ball": ["ball"], "moon": ["moon"]}}))
    with pytest.raises(Stopped):
        finetune(task(), progress=stop_at(0.0))
    assert (tmp_path / "expert" / "recipe.yaml").is_file() and "with changes to" not in caplog.text


SHARE = """
import logging
import sys
from pathlib import Path
import torch
from accelerate import PartialState
from torch.optim.optimizer import register_optimizer_step_pre_hook
from sam_moe.systems.sam_med3d_moe.finetune.recipe import finetune

torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO)
first = []

def keep(optimiser, *_):
    first.append([p.grad.clone() for group in optimiser.param_groups for p in group["params"]])

register_optimizer_step_pre_hook(keep)
path = finetune(Path(sys.argv[1]))  # ends with all processes, the card written
torch.save(first[0], path.parent / f"rank{PartialState().process_index}.pt")
"""


@pytest.mark.slow
def test_two_processes_embed_once_and_share_gradients(task, backbone, tmp_path):
    recipe = task(schedule={"steps": 1, "batch_size": 2}, validation_regions=0, seed=4)
    (tmp_path / "share.py").write_text(SHARE)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(
        [*launcher, tmp_path / "share.py", recipe], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "expert"
    assert done.stderr.count("embedded 11 of 11") == 1 and read_card(run / "card.json").id == "ball"
    ranks = [torch.load(run / f"rank{n}.pt") for n in (0, 1)]
    # The same samples in one process: the mean of both halves' gradients, each with its own prompts.
    base = load_backbone(find_backbone(backbone))
    loss = ExpertLoss(base, Decoder().learner(base.mask_decoder, None, 0))
    stored = Embedded(run / "train.embedded.safetensors", 5)
    for rank in (0, 1):
        batch = torch.utils.data.default_collate([stored[2 * rank], stored[2 * rank + 1]])
        (loss(batch, prompt_rng(5, 0, rank)) / 2).backward()
    learnt = [p for p in loss.parameters() if p.requires_grad]
    alone = [p.grad for p in learnt if p.ndim > 1] + [p.grad for p in learnt if p.ndim <= 1]
    norm = torch.stack([g.norm() for g in alone]).norm()
    clipped = [g * min(1.0, float(1 / (norm + 1e-6))) for g in alone]
    for a, b, c in zip(clipped, *ranks, strict=True):
        assert torch.equal(b, c)
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        ({"region": 3}, [], r"region: unknown key; did you mean 'regions'"),
        ({}, ["data.structures={}"], r"data\.structures: "),
        ({}, ["data.structures.none=[]"], r"data\.structures\.none has no labels"),
        ({"base": "/nowhere"}, ["kind=full"], r"kind: 'full' has no training"),
        ({}, ["kind=lora"], r"kind 'lora' needs its ranks: add for example lora: \{rank: 4, alpha: 4\}"),
        ({"lora": LORA["lora"]}, [], r"this one is 'decoder'; leave it out"),
        ({"card": {"covers": []}}, [], r"card\.covers: "),
        ({"card": {"id": "general"}}, [], r"card\.id: 'general' is the base's"),
        ({}, ["tracker=nonsense"], r"tracker 'nonsense' is not installed"),
        ({}, ["data.folder=/nowhere"], r"there is no .*nowhere"),
        (
            {"data": {"structures": {"ball": ["ball"], "moon": ["moon"]}}},
            [],
            r"the train part of .*splits\.json holds no voxel of moon",
        ),
        (
            {"data": {"structures": {"ball": ["maps/label 1"]}, "weights": {}}},
            [],
            r"the validation part of .* holds no voxel of ball.*set validation_regions to 0",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(task, changes, overrides, message):
    with pytest.raises(ConfigError, match=message):
        finetune(task(**changes), overrides)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parent.name)
def test_the_recipes_that_ship_can_be_followed(path):
    recipe = load_settings(FinetuneRecipe, path)
    assert recipe.card.id == path.parent.name and recipe.base == "small"
    assert set(recipe.data.weights) or len(recipe.data.structures) == 1
