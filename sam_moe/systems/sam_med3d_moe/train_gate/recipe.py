"""`sam-moe train-gate RECIPE.yaml`: from a backbone and its experts to a gate with its card, resumable."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import dump_settings, load_settings
from sam_moe.files import replace_text
from sam_moe.moe.gate import check_lightweight
from sam_moe.progress import Progress, silent
from sam_moe.systems.sam_med3d_moe.train_gate.card import ship_gate
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import fit_gate, fresh_gate, unchanged
from sam_moe.systems.sam_med3d_moe.train_gate.members import assemble_team
from sam_moe.systems.sam_med3d_moe.train_gate.scans import (
    PARTS,
    make_table,
    read_scans,
    read_table,
    table_hours,
)
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
from sam_moe.training.engine.loop import BEST, Schedule
from sam_moe.training.engine.machines import note_machine, processes
from sam_moe.training.engine.runlog import LOG
from sam_moe.training.recipes.parts import RECIPE, prepare, told

# Names what the training in the folder was begun with.
BEGUN = "begun.sha256"


def train_gate(
    recipe_path: Path,
    overrides: Sequence[str] = (),
    report: Progress | None = None,
) -> Path:
    """Follow a recipe and return the path of the trained gate, `run/model.safetensors`.

    Beside it lie `card.json`, the curve its threshold was chosen from, and `bank.safetensors` with what the
    gate saw of a few prompts of each expert. The tables of prompts stay in the folder and are built again
    when backbone, experts or data change; started again, the training goes on where it stopped. `report`
    hears the stage and the share of it that is done.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        CardError: for experts of another backbone.
        FileError: where the run's folder cannot be written, or is full.
        SamMoeError: if anything but the gate changed.
    """
    recipe = load_settings(GateRecipe, recipe_path, overrides)
    prepare(recipe.run)
    progress = report or silent
    together = processes()
    team = assemble_team(recipe.base, [expert.expert for expert in recipe.experts])
    gate = fresh_gate(
        team.model.sizes.out_channels, len(team.decoders), recipe.hidden, recipe.mode, recipe.seed
    )
    check_lightweight(gate, team.model)
    if together.is_main_process:
        read_scans(recipe, progress)
        dump_settings(recipe, recipe.run / RECIPE)  # not before: a start that finds no data is none
        origins = [make_table(recipe, team, part, progress) for part in PARTS]
        _begin(recipe, origins)
    together.wait_for_everyone()
    train, validation = (read_table(recipe, part) for part in PARTS)
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
            lambda row: progress("training the gate", row["step"] / row["steps"]),
        )
    if together.is_main_process:
        made_by = told(
            "train-gate",
            recipe_path,
            overrides,
            recipe.run,
            recipe.seed,
            recipe.schedule.batch_size,
            together.num_processes,
            table_hours(recipe),
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
    together.wait_for_everyone()
    return recipe.run / "model.safetensors"


def _begin(recipe: GateRecipe, origins: Sequence[str]) -> None:
    """Throw away a training of other tables or other settings: it takes minutes, not to be gone on with."""
    settled = {"run", "card", "most_drop", "selection", "k", "tracker"}
    asked = json.dumps([recipe.model_dump(mode="json", exclude=settled), *origins], sort_keys=True)
    begun, digest = recipe.run / BEGUN, hashlib.sha256(asked.encode()).hexdigest()
    if begun.is_file() and begun.read_text(encoding="utf-8") == digest:
        return
    for folder in ("checkpoint", "checkpoint.old", "checkpoint.part"):
        shutil.rmtree(recipe.run / folder, ignore_errors=True)
    for file in (BEST, LOG):
        (recipe.run / file).unlink(missing_ok=True)
    replace_text(begun, digest)
