"""The scans and tables of a gate's recipe, kept in its run's folder and made again when they would differ."""

import json
import logging
import time
from pathlib import Path

import torch

from sam_moe.errors import ConfigError
from sam_moe.files import replace_text
from sam_moe.moe.selection import SelectionRule
from sam_moe.progress import Progress
from sam_moe.systems.sam_med3d_moe.train_gate.asking import Asking, build_table
from sam_moe.systems.sam_med3d_moe.train_gate.members import Members
from sam_moe.systems.sam_med3d_moe.train_gate.regions import Stream, draw_regions
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
from sam_moe.systems.sam_med3d_moe.train_gate.table import (
    TABLE_FORMAT,
    GateTable,
    load_table,
    save_table,
)
from sam_moe.training.recipes.scans import check_scans, keep_scans
from sam_moe.training.scans.cache import cache_path, cached_labels, read_cache

log = logging.getLogger(__name__)

PARTS = ("train", "validation")
# How long each part's table took.
SECONDS = "tables.json"
# Edge of the answers that are kept where they are fused: for target 'fused', and to measure such a selection.
KEPT_VOXELS = 16


def _table_path(recipe: GateRecipe, part: str) -> Path:
    return recipe.run / f"table-{part}.safetensors"


def read_table(recipe: GateRecipe, part: str) -> GateTable:
    """The table that `make_table` left for a part."""
    table = load_table(_table_path(recipe, part))
    assert table is not None  # the main process has just built or found it
    return table


def make_table(
    recipe: GateRecipe, members: Members, part: str, rule: SelectionRule, progress: Progress
) -> str:
    """Build one part's table, unless it is there; returns all that it was made from.

    Answers are kept where several are fused: to learn from them, or to measure a rule that gives several.
    """
    data, training = recipe.data, part == "train"
    scans_origin = keep_scans(data, part, recipe.run)
    regions = data.train if training else data.validation
    stream = Stream(
        regions,
        recipe.seed + (0 if training else 1),
        data.spoil_share if training else 0.0,
        data.unlabelled_share,
        (data.weights, *(expert.weights for expert in recipe.experts)) if training else (),
        varied=training,
    )
    scored = not training or recipe.target != "owner"
    even = torch.full((1, len(members.refs)), 1 / len(members.refs))
    fuses = rule.select(even).experts.shape[1] > 1 and not training
    keep = (
        min(KEPT_VOXELS, members.decoders.model.sizes.low_res) if recipe.target == "fused" or fuses else None
    )
    own = [expert.structures for expert in recipe.experts]
    origin = json.dumps(
        {
            "table": TABLE_FORMAT,
            "scans": scans_origin,
            "team": [ref.model_dump() for ref in members.refs],
            "structures": own,
            "leave_out": sorted(data.leave_out),
            "preprocessing": members.preprocessing.model_dump(),
            "box_strategy": members.decoders.box_strategy,
            "stream": vars(stream),
            "asked": [scored, keep, recipe.turns],
        },
        sort_keys=True,
    )
    if load_table(_table_path(recipe, part), origin) is not None:
        return origin
    total, began = regions * (len(own) + 2), time.monotonic()
    drawn = draw_regions(
        read_cache(cache_path(recipe.run, part)),
        own,
        frozenset(data.leave_out),
        members.preprocessing,
        stream,
    )
    table = build_table(
        members.decoders,
        drawn,
        Asking(stream.seed, scored, keep, recipe.turns),
        lambda done: progress(f"asking the experts ({part})", done / total),
    )
    lacking = set(range(len(members.refs))) - set(table.owner.tolist())
    if lacking and training:
        ids = ", ".join(members.refs[n].id for n in sorted(lacking))
        raise ConfigError(
            f"the {part} part of {data.splits} holds nothing for {ids}: its column could not be learnt. "
            "Check `structures` and the splits file."
        )
    save_table(table, _table_path(recipe, part), origin)
    spent = {**_seconds(recipe), part: round(time.monotonic() - began, 2)}
    replace_text(recipe.run / SECONDS, json.dumps(spent) + "\n")
    return origin


def read_scans(recipe: GateRecipe, progress: Progress) -> None:
    """Read the scans of both parts, and check that they show something of every expert, before one is asked.

    All labels are read at once, the experts' and the general expert's: scans cut around an expert's
    structures alone would show by their borders which expert they are for.

    Raises:
        ConfigError: for splits or data that cannot be read, and an expert of which nothing is there to learn.
    """
    data = recipe.data
    check_scans(data, PARTS, recipe.run)  # all are looked for before the first is read
    for part in PARTS:
        progress(f"reading scans ({part})", 0.0)
        keep_scans(data, part, recipe.run)
        met = cached_labels(cache_path(recipe.run, part))
        for expert in recipe.experts:
            labels = {label for parts in expert.structures.values() for label in parts}
            lost, name = ", ".join(sorted(labels - met)), Path(expert.expert).name
            if labels & met:
                if lost and part == "train":
                    log.warning("structures of %s, but not met in the train part: %s", name, lost)
                continue
            nothing = f"the {part} part of {data.splits} holds nothing for {name}: no scan shows {lost}"
            if part == "train":
                raise ConfigError(
                    f"{nothing}, and its column could not be learnt. Check `structures` and the splits file."
                )
            log.warning("%s; how well it is chosen cannot be judged", nothing)


def table_hours(recipe: GateRecipe) -> float:
    """How long it took to ask the experts for the tables that there are."""
    return sum(_seconds(recipe).values()) / 3600


def _seconds(recipe: GateRecipe) -> dict[str, float]:
    path = recipe.run / SECONDS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
