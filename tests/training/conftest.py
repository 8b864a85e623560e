"""A data folder of drawn patients, and a model small enough to be trained in a test."""

import json
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
import yaml

from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import (
    BackboneCard,
    Base,
    Cover,
    ExpertCard,
    MadeBy,
    Preprocessing,
    Weights,
    write_card,
)
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.card import Provenance, ship
from sam_moe.training.recipes.settings import CardRecipe
from sam_moe.training.scans.cache import read_cache, write_cache
from sam_moe.training.scans.sources import read_folder
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import save_weights

GRID = Grid.around((0, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))

SPLITS = {
    "balls": {"train": ["a", "b"], "validation": ["c"], "test": ["d"]},
    "maps": {"train": ["m"], "validation": [], "test": ["n"]},
}


def patient(seed, grid=GRID):
    """A scan with a ball (1) and, in a corner of the body, a box of 3x4x5 voxels (2)."""
    scan, mask = ball(torch.Generator().manual_seed(seed), grid)
    labels = mask.array.clone()
    labels[4:7, 4:8, 4:9] = 2
    image = (scan.array - scan.array.min()).round().to(torch.int16)
    return Volume(image, grid), Volume(labels, grid)


@pytest.fixture
def sizes():
    return Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)


@pytest.fixture
def folder(tmp_path):
    """Two sets, of scans and of label maps, beside splits.json."""
    folder = tmp_path / "data"
    for number, (name, parts) in enumerate(SPLITS.items()):
        cases = []
        (folder / name).mkdir(parents=True)
        for case in sorted(chain.from_iterable(parts.values())):
            scan, labels = patient(100 * number + ord(case))
            entry = {"id": case, "label": f"{case}_label.nii.gz"}
            write_mask(folder / name / entry["label"], labels.array, labels.grid, None)
            if name == "balls":
                entry["image"] = f"{case}.nii.gz"
                write_volume(folder / name / entry["image"], scan)
            cases.append(entry)
        labels = {"ball": 1, "box": 2} if name == "balls" else "in words"
        dataset = {"labels": labels, "cases": cases}
        (folder / name / "dataset.json").write_text(json.dumps(dataset))
    (tmp_path / "splits.json").write_text(json.dumps({"sets": SPLITS}))
    return folder


@pytest.fixture
def splits(folder):
    return folder.parent / "splits.json"


@pytest.fixture
def change():
    """Makes a change in a JSON file: `change(path, lambda table: ...)`."""

    def make(path, how):
        table = json.loads(path.read_text())
        how(table)
        path.write_text(json.dumps(table))

    return make


@pytest.fixture
def scans(folder, splits, tmp_path):
    """The train part, through a cache."""
    write_cache(read_folder(folder, splits), tmp_path / "train.safetensors")
    return read_cache(tmp_path / "train.safetensors")


@pytest.fixture
def recipe(folder, splits, tmp_path, sizes):
    """Makes a recipe's file, with changes to its groups."""
    plain = {
        "run": str(tmp_path / "run"),
        "card": {"id": "run", "title": "Tiny", "licence": "Apache-2.0", "not_for": "Patients."},
        "architecture": {**vars(sizes), "global_attn_indexes": [1]},
        "preprocessing": {"region_voxels": 16, "spacing_mm": 3.0, "normalisation": "mean"},
        "data": {"folder": str(folder), "splits": str(splits), "phantom_share": 0.2},
        "schedule": {"steps": 6, "batch_size": 2, "warmup": 2, "save_every": 2},
        "validation_crops": 4,
        "validate_every": 3,
        "workers": 0,
    }

    return maker(plain, tmp_path / "my recipe.yaml")


def shipped(folder, sizes, strategy="mask"):
    """The folder of a general model that has learnt nothing, named as the folder is."""
    model = fresh_model(sizes, 0)
    words = {"id": folder.name, "title": "General", "licence": "Apache-2.0", "not_for": "Patients."}
    region = Preprocessing(region_voxels=16, spacing_mm=3.0, normalisation="mean")
    folder.mkdir(parents=True)
    card = CardRecipe(**words, default_box_strategy=strategy)
    kept, made_by = Kept(model.state_dict(), 0, {}), MadeBy(command="by hand")
    ship(kept, folder, card, sizes, region, Provenance(made_by, "nothing"))
    return folder


@pytest.fixture
def backbone(sizes, tmp_path):
    """The folder of a general model that has learnt nothing."""
    return shipped(tmp_path / "shipped" / "general", sizes)


@pytest.fixture(params=["mask", "center"])
def without_corners(request, sizes, tmp_path):
    """A general model whose weights know no box, as the public ones; its card lowers boxes one way."""
    sizes = replace(sizes, corner_embeddings=False)
    return shipped(tmp_path / "shipped" / f"plain-{request.param}", sizes, request.param)


@pytest.fixture
def task(folder, splits, backbone, tmp_path):
    """Makes the recipe of an expert for the balls of all sets, with changes to its groups."""
    plain = {
        "run": str(tmp_path / "expert"),
        "base": str(backbone),
        "card": {
            "id": "ball",
            "title": "Balls",
            "covers": [{"structure": "ball", "modality": "CT"}],
            "licence": "Apache-2.0",
            "not_for": "Patients.",
        },
        "data": {
            "folder": str(folder),
            "splits": str(splits),
            "structures": {"ball": ["ball", "maps/label 1"]},
            "weights": {"balls": 2.0},
        },
        "schedule": {"steps": 6, "batch_size": 2, "warmup": 2, "save_every": 2, "learning_rate": 0.003},
        "regions": 11,
        "validation_regions": 4,
        "validate_every": 3,
    }
    return maker(plain, tmp_path / "my task.yaml")


def maker(plain, path):
    """Writes a recipe's file with changes to its groups."""

    def make(**changes):
        table = {
            k: {**v, **changes.get(k, {})} if isinstance(v, dict) else changes.get(k, v)
            for k, v in plain.items()
        }
        table |= {k: v for k, v in changes.items() if k not in plain}
        path.write_text(yaml.safe_dump(table))
        return path

    return make


@pytest.fixture
def team(tmp_path, monkeypatch, sizes):
    """A folder of cards with a base; `expert(id)` makes the folder of an expert on it, outside of that."""
    folder = tmp_path / "cards"
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(folder))
    monkeypatch.setenv("SAM_MOE_CACHE", str(tmp_path / "cache"))
    sizes = replace(sizes, embed_dim=192)  # so much that a gate is light beside it
    model = fresh_model(sizes, 0).eval()
    words = {"title": "Tiny", "licence": "Apache-2.0", "not_for": "Patients."}

    def put(where, state, card):
        where.mkdir(parents=True)
        path = where / "model.safetensors"
        save_weights(state, path)
        weights = {"file": path.name, "sha256": sha256_of(path), "size_bytes": path.stat().st_size}
        write_card(card(weights=Weights(**weights, dtype="float32"), **words), where / "card.json")
        return where

    def backbone(**more):
        preprocessing = Preprocessing(region_voxels=16, spacing_mm=3.0, normalisation="mean")
        architecture = sizes
        return BackboneCard(id="tiny-base", architecture=architecture, preprocessing=preprocessing, **more)

    def expert(id, seed=1):
        def card(**more):
            base = Base(id="tiny-base", sha256=fingerprint(model))
            covers = (Cover(structure="ball", modality="MR"),)
            return ExpertCard(id=id, expert_kind="decoder", base=base, covers=covers, **more)

        decoder = fresh_model(sizes, seed).mask_decoder.state_dict()
        return put(tmp_path / "experts" / id, {f"mask_decoder.{k}": v for k, v in decoder.items()}, card)

    put(folder / "tiny-base", model.state_dict(), backbone)
    return SimpleNamespace(folder=folder, model=model, expert=expert)


@pytest.fixture
def gate_recipe(team, folder, splits, tmp_path):
    """Makes the file of a gate's recipe over the base and one expert of boxes, with changes."""

    def make(**changes):
        table = {
            "run": str(tmp_path / "gate"),
            "base": "tiny-base",
            "card": {"id": "moe", "title": "Tiny", "licence": "Apache-2.0"},
            "experts": [
                {"expert": str(tmp_path / "experts" / "old"), "structures": {"a box": ["balls/box"]}}
            ],
            "data": {"folder": str(folder), "splits": str(splits), "train": 6, "validation": 4},
            "hidden": 16,
            "schedule": {"steps": 4, "batch_size": 8, "save_every": 2, "log_every": 1},
            "validate_every": 2,
        }
        path = tmp_path / "gate.yaml"
        path.write_text(yaml.safe_dump({**table, **changes}))
        return path

    return make


@pytest.fixture
def trained_gate(team, gate_recipe):
    """The run folder of a gate over `tiny-base` and the expert `old`, hardly trained."""
    team.expert("old")
    changes = ["schedule.steps=40", "data.leave_out=[balls/ball]"]
    return train_gate(gate_recipe(selection="argmax"), changes).parent
