"""The scans and tables of a gate's recipe, kept in its run's folder and made again when they would differ."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from sam_moe.errors import ConfigError
from sam_moe.training.cache import FORMAT as SCANS_FORMAT
from sam_moe.training.cache import cache_origin, read_cache, write_cache
from sam_moe.training.gate_regions import Stream, draw_regions
from sam_moe.training.gate_settings import GateRecipe
from sam_moe.training.gate_table import FORMAT, GateTable, build_table, load_table, save_table
from sam_moe.training.gate_team import Team
from sam_moe.training.sources import read_folder

log = logging.getLogger(__name__)

# Edge of the answers that are kept where they are fused: for target 'fused', and to measure such a selection.
KEPT_VOXELS = 16


def scans_path(recipe: GateRecipe, part: str) -> Path:
    """Where a run keeps the scans of one part of the split."""
    return recipe.run / f"scans-{part}.safetensors"


def _table_path(recipe: GateRecipe, part: str) -> Path:
    return recipe.run / f"table-{part}.safetensors"


def read_table(recipe: GateRecipe, part: str) -> GateTable:
    """The table that `make_table` left for a part."""
    table = load_table(_table_path(recipe, part))
    assert table is not None  # the main process has just built or found it
    return table


def make_table(recipe: GateRecipe, team: Team, part: str, tell: Callable[[str, float], None]) -> str:
    """Build one part's table, unless it is there; returns all that it was made from."""
    data, training = recipe.data, part == "train"
    scans_origin = _scans(recipe, part, tell)
    regions = data.train if training else data.validation
    stream = Stream(
        regions,
        recipe.seed + (0 if training else 1),
        data.spoil_share if training else 0.0,
        data.phantom_share if training else 0.0,
        data.unlabelled_share,
        (data.weights, *(expert.weights for expert in recipe.experts)) if training else (),
    )
    scored = not training or recipe.target != "owner"
    fuses = recipe.selection in ("top_k", "dense") and not training
    keep = KEPT_VOXELS if recipe.target == "fused" or fuses else None
    own = [expert.structures for expert in recipe.experts]
    origin = json.dumps(
        {
            "table": FORMAT,
            "scans": scans_origin,
            "team": [ref.model_dump() for ref in team.refs],
            "structures": own,
            "leave_out": sorted(data.leave_out),
            "preprocessing": team.preprocessing.model_dump(),
            "stream": vars(stream),
            "asked": [scored, keep, recipe.turns],
        },
        sort_keys=True,
    )
    if load_table(_table_path(recipe, part), origin) is not None:
        return origin
    total = regions * (len(own) + 2)
    drawn = draw_regions(
        read_cache(scans_path(recipe, part)), own, frozenset(data.leave_out), team.preprocessing, stream
    )
    table = build_table(
        team.model,
        team.decoders,
        drawn,
        stream.seed,
        scored,
        keep,
        recipe.turns,
        lambda done: tell(f"asking the experts ({part})", done / total),
    )
    lacking = set(range(len(team.refs))) - set(table.owner.tolist())
    if lacking and training:
        ids = ", ".join(team.refs[n].id for n in sorted(lacking))
        raise ConfigError(
            f"the {part} part of {data.splits} holds nothing for {ids}: its column could not be learnt. "
            "Check `structures` and the splits file."
        )
    if lacking:
        log.warning("the validation part holds nothing for columns %s", sorted(lacking))
    save_table(table, _table_path(recipe, part), origin)
    return origin


def _scans(recipe: GateRecipe, part: str, tell: Callable[[str, float], None]) -> str:
    """Read one part's scans into a cache, unless they are there; returns what the cache was read from.

    All labels are read at once, the experts' and the general expert's: scans cut around an expert's
    structures alone would tell by their borders whose they are.
    """
    data, path = recipe.data, scans_path(recipe, part)
    splits = data.splits.read_bytes() if data.splits.is_file() else b""
    asked = json.dumps({"all": True, "splits": hashlib.sha256(splits).hexdigest(), "format": SCANS_FORMAT})
    if cache_origin(path) != asked:
        tell(f"reading scans ({part})", 0.0)
        write_cache(read_folder(data.folder, data.splits, part), path, asked)
    return asked
