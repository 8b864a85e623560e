"""Two small data sets in a folder, and the recipe of a tiny automatic model of them."""

import json

import torch
import yaml

from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.registry.conftest import make_automatic_card

GRID = Grid.around((0, 0, 0), (18, 16, 6), (2.5, 2.5, 3.0))
SETS = {"neck": {"cord": 1, "larynx": 2}, "brain": {"hippocampus": 1}}
THIRD = "belly"
PARTS = {"train": ("a", "b"), "validation": ("c",), "test": ("d", "e")}


def write_data(root):
    """The two folders, their splits file beside them: boxes brighter than what is around them."""
    for number, (name, labels) in enumerate({**SETS, THIRD: {"liver": 1}}.items()):
        cases = []
        for place, case in enumerate("abcde"):
            truth = torch.zeros(GRID.shape, dtype=torch.uint8)
            for value in labels.values():
                truth[2 + 5 * value : 6 + 5 * value, 4:9, 1:5] = value
            generator = torch.Generator().manual_seed(place)
            image = torch.rand(GRID.shape, generator=generator) * 20 + number * 50 + truth * 90.0
            files = {kind: f"{kind}s/{case}.nii.gz" for kind in ("image", "label")}
            for kind in files:
                (root / name / f"{kind}s").mkdir(parents=True, exist_ok=True)
            write_volume(root / name / files["image"], Volume(image, GRID))
            write_mask(root / name / files["label"], truth, GRID, None)
            cases.append({"id": case, **files})
        (root / name / "dataset.json").write_text(json.dumps({"cases": cases, "labels": labels}))
    splits = {name: {part: list(ids) for part, ids in PARTS.items()} for name in (*SETS, THIRD)}
    (root / "splits.json").write_text(json.dumps({"sets": splits}))


def write_recipe(folder, **changes):
    """The data and a recipe of two steps a phase; gives the recipe's path."""
    write_data(folder / "data")
    card = make_automatic_card()
    fast = {"steps": 4, "batch_size": 2, "warmup": 0, "average": 0.5, "save_every": 2, "learning_rate": 0.01}
    source = {"layout": "folders", "splits": str(folder / "data" / "splits.json")}
    recipe = {
        "system": "m4oe",
        "run": str(folder / "run"),
        "card": {key: card[key] for key in ("id", "title", "licence", "not_for")},
        "architecture": card["architecture"],
        "mixture": card["mixture"],
        "sets": card["sets"],
        "data": {
            "folder": str(folder / "data"),
            "sets": {
                name: {part: [{**source, "root": name, "part": part}] for part in ("train", "validation")}
                for name in SETS
            },
        },
        "drawing": {"tile": 16},
        "phases": [{"phase": phase, "schedule": fast} for phase in ("trunk", "gate", "together")],
        "store": "float32",
    } | changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def write_recipe_of_three(folder):
    """The same with a third set, of an expert of its own, behind the others."""
    path = write_recipe(folder)
    recipe = yaml.safe_load(path.read_text())
    brain = recipe["sets"][1]
    own = {"id": THIRD, "title": "T2 MR of the belly", "modality": "MR T2", "expert": "mr-t2"}
    recipe["sets"].append({**brain, **own, "labels": [{"name": "liver"}]})
    recipe["architecture"]["classes"] = [3, 2, 2]
    recipe["mixture"]["experts"] = ["ct", "mr", "mr-t2"]
    parts = recipe["data"]["sets"]["brain"]
    recipe["data"]["sets"][THIRD] = {
        part: [{**source, "root": THIRD} for source in sources] for part, sources in parts.items()
    }
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def write_challenge(folder):
    """The test cases of both sets as a challenge; gives its path."""
    challenge = {
        "name": "tiny",
        "sets": [
            {
                "layout": "folders",
                "root": f"./data/{name}",
                "part": "test",
                "splits": "data/splits.json",
                "prefix": f"{name}-",
                "fixed": {"set": name, "modality": modality},
            }
            for name, modality in (("neck", "CT"), ("brain", "MR T1"))
        ],
        "labels": {"cord": [], "larynx": [], "hippocampus": []},
        "protocol": "automatic",
    }
    path = folder / "challenge.yaml"
    path.write_text(yaml.safe_dump(challenge, sort_keys=False))
    return path
