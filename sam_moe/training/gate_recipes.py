"""`sam-moe train-gate RECIPE.yaml`: from a backbone and its experts to a gate with its card, resumable."""

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState
from pydantic import Field, model_validator

from sam_moe.config import Record, Settings, dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.moe.gate import check_lightweight
from sam_moe.registry import MadeBy
from sam_moe.training.cache import FORMAT as SCANS_FORMAT
from sam_moe.training.cache import cache_origin, cached_sets, read_cache, write_cache
from sam_moe.training.gate import fit_gate, fresh_gate, unchanged
from sam_moe.training.gate_card import GateWords, ship_gate
from sam_moe.training.gate_regions import Stream, draw_regions
from sam_moe.training.gate_table import FORMAT, GateTable, build_table, load_table, save_table
from sam_moe.training.gate_team import Team, assemble_team
from sam_moe.training.loop import Schedule
from sam_moe.training.machines import hardware, machines, note_machine
from sam_moe.training.runlog import hours_of, read_rows
from sam_moe.training.sources import read_folder

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"


class GateExpert(Record):
    """One expert, and what is its own in the data."""

    expert: str = Field(description="Id of its card; or the path of its folder, from where you stand.")
    structures: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="Names of its structures; each the union of labels, by name or 'set/name'."
    )


class GateData(Record):
    """Labelled scans; the general expert owns every structure that no expert has and none leaves out."""

    folder: Path = Field(description="Folder of data sets, each with a dataset.json; from where you stand.")
    splits: Path = Field(description="Splits file naming the cases of each part; from where you stand.")
    leave_out: tuple[str, ...] = Field((), description="Structures that are nobody's, by name or 'set/name'.")
    weights: dict[str, float] = Field({}, description="How often the general expert's sets are drawn.")
    phantom_share: float = Field(0.05, ge=0, lt=1, description="Share of phantoms in the general structures.")
    unlabelled_share: float = Field(
        0.3, ge=0, lt=1, description="Share of the general expert's regions about places without any label."
    )
    spoil_share: float = Field(
        0.3, ge=0, le=1, description="Share of training regions with scanner's faults."
    )
    train: int = Field(300, gt=0, description="Training regions an expert, twice that for the general one.")
    validation: int = Field(64, gt=0, description="Validation regions an expert, twice for the general one.")


class GateSchedule(Record):
    """How long and how fast; see `training.loop.Schedule`."""

    steps: int = Field(1500, gt=0, description="Optimiser steps.")
    batch_size: int = Field(256, gt=0, description="Prompts per step and process.")
    learning_rate: float = Field(2e-3, gt=0, description="At the plateau.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's.")
    warmup: int = Field(50, ge=0, description="Steps of linear warm-up.")
    decay: float = Field(0.6, gt=0, le=1, description="Share of the steps in which the rate falls to 0.")
    average: float = Field(0.98, ge=0, lt=1, description="Decay of the averaged weights.")
    save_every: int = Field(250, gt=0, description="Steps between checkpoints.")
    log_every: int = Field(50, gt=0, description="Steps between rows of the log.")


class GateRecipe(Settings):
    """A gate over a backbone and its experts. Paths are relative to the folder the command is given in."""

    run: Path = Field(description="Folder for tables, log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of initial weights, regions, prompts and the order of rows.")
    base: str = Field(description="Id of the backbone's card; or the path of its folder.")
    card: GateWords = Field(description="What the gate's card says beside what the training knows.")
    experts: tuple[GateExpert, ...] = Field(min_length=1, description="In the order of the gate's outputs.")
    data: GateData
    hidden: int = Field(32, gt=0, description="Width of the gate's trunk.")
    mode: Literal["both", "image", "prompt"] = Field("both", description="What it sees; less is a control.")
    target: Literal["owner", "best", "fused"] = Field(
        "owner", description="What it learns: whose the structure is, who scores best, the fused mask's loss."
    )
    balance: float = Field(0.0, ge=0, description="Weight of the term that wants all experts used alike.")
    noise: float = Field(0.0, ge=0, description="Noise on features, in shares of their spread.")
    selection: Literal["threshold", "top_k", "argmax", "dense"] = Field(
        "threshold", description="How experts are chosen by their confidence."
    )
    k: int | None = Field(None, gt=0, description="Experts that answer; for 'top_k'.")
    fusion: Literal["logits", "probabilities"] = Field(
        "logits", description="How several answers are joined."
    )
    most_drop: float = Field(0.005, ge=0, description="Dice that a general structure may lose on validation.")
    turns: int = Field(3, gt=0, description="Answers to each way of asking: the first and its corrections.")
    schedule: GateSchedule = GateSchedule()
    validate_every: int = Field(100, gt=0, description="Steps between validations; the best is kept.")
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")

    @model_validator(mode="after")
    def _fits(self) -> "GateRecipe":
        if (self.k is not None) != (self.selection == "top_k"):
            raise ValueError("'k' is for selection 'top_k' alone, which needs it")
        names = [name for expert in self.experts for name in expert.structures]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"structures {', '.join(twice)} have several experts; name each only once")
        return self


def train_gate(
    recipe_path: Path,
    overrides: Sequence[str] = (),
    report: Callable[[str, float], None] | None = None,
) -> Path:
    """Follow a recipe and return the path of the trained gate, `run/model.safetensors`.

    Beside it lie `card.json`, the curve its threshold was chosen from, and `bank.safetensors` with what the
    gate saw of a few prompts of each expert. The tables of prompts stay in the folder and are built again
    when backbone, experts or data change; started again, the training goes on where it stopped. `report`
    hears the stage and the share of it that is done.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        CardError: for experts of another backbone.
        SamMoeError: if anything but the gate changed.
    """
    recipe = load_settings(GateRecipe, recipe_path, overrides)
    recipe.run.mkdir(parents=True, exist_ok=True)
    tell = report or (lambda stage, share: None)
    processes = PartialState(cpu=not torch.accelerator.is_available())
    team = assemble_team(recipe.base, [expert.expert for expert in recipe.experts])
    gate = fresh_gate(
        team.model.sizes.out_channels, len(team.decoders), recipe.hidden, recipe.mode, recipe.seed
    )
    check_lightweight(gate, team.model)
    if processes.is_main_process:
        dump_settings(recipe, recipe.run / RECIPE)
        for part in ("train", "validation"):
            _table(recipe, team, part, tell)
    processes.wait_for_everyone()
    train, validation = (_read(recipe, part) for part in ("train", "validation"))
    note_machine(recipe.run, recipe.schedule.steps)
    names = [ref.id for ref in team.refs[1:]]
    frozen = {team.base.id: team.model, **dict(zip(names, team.decoders[1:], strict=True))}
    with unchanged(frozen):
        kept = fit_gate(
            gate,
            train,
            validation,
            Schedule(**recipe.schedule.model_dump()),
            recipe.run,
            recipe.seed + 1,
            recipe.target,
            recipe.balance,
            recipe.fusion,
            recipe.noise,
            recipe.validate_every,
            recipe.tracker,
            lambda row: tell("training the gate", row["step"] / row["steps"]),
        )
    if processes.is_main_process:
        rows, per_step = read_rows(recipe.run), recipe.schedule.batch_size * processes.num_processes
        changes = [part for change in overrides for part in ("--set", change)]
        made_by = MadeBy(
            command=shlex.join(["sam-moe", "train-gate", str(recipe_path), *changes]),
            seeds=(recipe.seed,),
            hours=round(hours_of(rows, per_step), 4),
            hardware="; ".join(machines(recipe.run)) or hardware(processes.num_processes),
            data=cached_sets(_scans_path(recipe, "train")),
        )
        gate.load_state_dict(kept.weights)
        ship_gate(
            gate.cpu(),
            kept.step,
            recipe.run,
            recipe.card,
            team.base,
            team.refs,
            train,
            validation,
            made_by,
            recipe.selection,
            recipe.k,
            recipe.fusion,
            recipe.most_drop,
            f"{recipe.data.validation} regions an expert, validation part of {recipe.data.splits.name}",
        )
    processes.wait_for_everyone()
    return recipe.run / "model.safetensors"


def _scans_path(recipe: GateRecipe, part: str) -> Path:
    return recipe.run / f"scans-{part}.safetensors"


def _table_path(recipe: GateRecipe, part: str) -> Path:
    return recipe.run / f"table-{part}.safetensors"


def _read(recipe: GateRecipe, part: str) -> GateTable:
    table = load_table(_table_path(recipe, part))
    assert table is not None  # the main process has just built or found it
    return table


def _table(recipe: GateRecipe, team: Team, part: str, tell: Callable[[str, float], None]) -> None:
    """Build one part's table, unless it is there."""
    data, training = recipe.data, part == "train"
    scans_origin = _scans(recipe, part, tell)
    regions = data.train if training else data.validation
    stream = Stream(
        regions,
        recipe.seed + (0 if training else 1),
        data.spoil_share if training else 0.0,
        data.phantom_share if training else 0.0,
        data.unlabelled_share,
        data.weights if training else {},
    )
    scored = not training or recipe.target != "owner"
    keep = 16 if training and recipe.target == "fused" else None
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
        return
    total = regions * (len(own) + 2)
    drawn = draw_regions(
        read_cache(_scans_path(recipe, part)), own, frozenset(data.leave_out), team.preprocessing, stream
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


def _scans(recipe: GateRecipe, part: str, tell: Callable[[str, float], None]) -> str:
    """Read one part's scans into a cache, unless they are there; returns what the cache was read from.

    All labels are read at once, the experts' and the general expert's: scans cut around an expert's
    structures alone would tell by their borders whose they are.
    """
    data, path = recipe.data, _scans_path(recipe, part)
    splits = data.splits.read_bytes() if data.splits.is_file() else b""
    asked = json.dumps({"all": True, "splits": hashlib.sha256(splits).hexdigest(), "format": SCANS_FORMAT})
    if cache_origin(path) != asked:
        tell(f"reading scans ({part})", 0.0)
        write_cache(read_folder(data.folder, data.splits, part), path, asked)
    return asked
