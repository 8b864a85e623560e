"""What the cases of `kills.py` read and none writes: drawn scans, small random models, recipes, prompts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.registry import (
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
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.card import Provenance, ship
from sam_moe.training.recipes.settings import CardRecipe
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import save_weights

# So wide that a gate is light beside it.
SIZES = Sizes(16, 8, 192, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)
REGION = {"region_voxels": 16, "spacing_mm": 3.0, "normalisation": "mean"}
GRID = Grid.around((0, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))
WORDS = {"title": "Tiny", "licence": "Apache-2.0", "not_for": "Patients."}


def make_stock(stock: Path) -> None:
    """What all cases read and none writes: scans, cards, checkpoints, recipes."""
    for number, case in enumerate("abc"):
        _patient(stock / "data" / "set", case, number)
    cases = [{"id": c, "image": f"{c}.nii.gz", "label": f"{c}_label.nii.gz"} for c in "abc"]
    dataset = {"labels": {"ball": 1, "box": 2}, "cases": cases}
    (stock / "data" / "set" / "dataset.json").write_text(json.dumps(dataset))
    splits = {"sets": {"set": {"train": ["a", "b"], "validation": ["c"], "test": []}}}
    (stock / "splits.json").write_text(json.dumps(splits))
    model = fresh_model(SIZES, 0).eval()
    general = stock / "cards" / "general"
    general.mkdir(parents=True)
    words = CardRecipe(id="general", **WORDS)
    region = Preprocessing(**REGION, zoom_max=1.0)
    sizes = replace(SIZES, global_attn_indexes=(1,))
    ship(
        Kept(model.state_dict(), 0, {}),
        general,
        words,
        sizes,
        region,
        Provenance(MadeBy(command="x"), "nothing"),
        "float32",
    )
    for number, name in enumerate(("old", "new"), start=1):
        _expert(stock / "experts" / name, name, number, fingerprint(model))
    shutil.copytree(stock / "experts" / "old", stock / "cards" / "old")
    for number, name in enumerate("AB", start=5):
        torch.save(fresh_model(replace(SIZES, embed_dim=24), number).state_dict(), stock / f"{name}.pth")
    _prompts(stock)
    _recipes(stock)


def _patient(folder: Path, case: str, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scan, mask = ball(torch.Generator().manual_seed(seed), GRID)
    labels = mask.array.clone()
    labels[4:7, 4:8, 4:9] = 2
    image = (scan.array - scan.array.min()).round().to(torch.int16)
    write_volume(folder / f"{case}.nii.gz", Volume(image, GRID))
    write_mask(folder / f"{case}_label.nii.gz", labels, GRID, None)


def _expert(folder: Path, id: str, seed: int, base: str) -> None:
    folder.mkdir(parents=True)
    state = {f"mask_decoder.{k}": v for k, v in fresh_model(SIZES, seed).mask_decoder.state_dict().items()}
    path = folder / "model.safetensors"
    save_weights(state, path)
    weights = Weights(file=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size, dtype="float32")
    grown, covers = Base(id="general", sha256=base), (Cover(structure="ball", modality="CT"),)
    card = ExpertCard(id=id, expert_kind="decoder", base=grown, covers=covers, weights=weights, **WORDS)
    write_card(card, folder / "card.json")


def _prompts(stock: Path) -> None:
    ways = {"A": {"one": _box(4, 12), "two": _click(5)}, "B": {"one": _click(11), "other": _box(8, 15)}}
    for way, targets in ways.items():
        for name, cases in (("one", "a"), ("many", "abc")):
            found = tuple(PromptCase.of(f"data/set/{case}.nii.gz", targets) for case in cases)
            if name == "many":
                found = tuple(PromptCase.of(f"{case}.nii.gz", targets) for case in cases)
            write(PromptSet(name=name, cases=found), stock / f"{name}-{way}.json")


def _click(at: float) -> Prompt:
    return Prompt((Point((at, at, at)),))


def _box(low: float, high: float) -> Prompt:
    return Prompt((Box((low, low, low), (high, high, high)),))


def _recipes(stock: Path) -> None:
    data = {"folder": str(stock / "data"), "splits": str(stock / "splits.json")}
    schedule = {"steps": 4, "batch_size": 2, "warmup": 1, "save_every": 1}
    run: dict[str, Any] = {"run": "run", "validate_every": 2}
    card = {"id": "run", **WORDS}
    pretrained = {**vars(replace(SIZES, embed_dim=24)), "global_attn_indexes": [1]}
    recipes: dict[str, dict[str, Any]] = {
        "pretrain": {
            "card": card,
            "architecture": pretrained,
            "preprocessing": REGION,
            "data": data,
            "schedule": schedule,
            "validation_crops": 2,
            "workers": 0,
        },
        "finetune": {
            "base": "general",
            "card": {**card, "covers": [{"structure": "ball", "modality": "CT"}]},
            "data": {**data, "structures": {"ball": ["ball"]}},
            "schedule": schedule,
            "regions": 4,
            "validation_regions": 2,
        },
        "train-gate": {
            "base": "general",
            "card": card,
            "experts": [{"expert": "old", "structures": {"a box": ["box"]}}],
            "data": {**data, "train": 2, "validation": 2},
            "hidden": 16,
            "turns": 2,
            "schedule": {**schedule, "log_every": 1},
        },
    }
    for verb, recipe in recipes.items():
        (stock / f"{verb}.yaml").write_text(yaml.safe_dump({**run, **recipe}))
