"""`sam-moe train-gate RECIPE.yaml`: from a backbone and its experts to a gate with its card, resumable."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import dump_settings, load_settings
from sam_moe.files import replace_text
from sam_moe.moe.fusion import check_fusion
from sam_moe.moe.gate import check_lightweight
from sam_moe.moe.rule_settings import make_rule
from sam_moe.progress import Progress, silent
from sam_moe.registry.gate import DEFAULT_GATE
from sam_moe.systems.sam_med3d_moe.train_gate.card import Choosing, TrainedGate, ship_gate
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import Objective, Tables, fit_gate, fresh_gate
from sam_moe.systems.sam_med3d_moe.train_gate.members import load_members
from sam_moe.systems.sam_med3d_moe.train_gate.scans import (
    PARTS,
    make_table,
    read_scans,
    read_table,
    table_hours,
)
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
from sam_moe.training.engine.best import BEST
from sam_moe.training.engine.frozen import unchanged
from sam_moe.training.engine.machines import processes
from sam_moe.training.engine.runlog import LOG
from sam_moe.training.recipes.card import Provenance
from sam_moe.training.recipes.run import (
    RECIPE,
    Command,
    begin,
    check_folder,
    made_by,
    reporting,
)
from sam_moe.weights.files import WEIGHTS

# Names what the training in the folder was begun with.
BEGUN = "begun.sha256"


def train_gate(recipe_path: Path, overrides: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Follow a recipe and return the path of the trained gate, `run/model.safetensors`.

    Beside it lie `card.json`, the curve its threshold was chosen from, and `bank.safetensors` with what the
    gate saw of a few prompts of each expert. The tables of prompts stay in the folder and are built again
    when backbone, experts or data change; started again, the training goes on where it stopped. `progress`
    is given the stage and the share of it that is done.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        CardError: for experts of another backbone.
        FileError: where the run's folder cannot be written, or is full.
        SamMoeError: if anything but the gate changed.
    """
    recipe = load_settings(GateRecipe, recipe_path, overrides)
    check_folder(recipe.run)
    together = processes()
    members = load_members(recipe.base, [expert.expert for expert in recipe.experts])
    model, ids = members.decoders.model, [ref.id for ref in members.refs]
    rule = make_rule(recipe.selection, recipe.rule_settings, ids)  # refused now, not after the training
    check_fusion(rule, recipe.fusion)
    kind, features = recipe.kind or DEFAULT_GATE, model.sizes.out_channels
    gate = fresh_gate(features, len(ids), recipe.hidden, recipe.mode, recipe.seed, kind)
    check_lightweight(gate, model)
    if together.is_main_process:
        read_scans(recipe, progress)
        dump_settings(recipe, recipe.run / RECIPE)  # not before: a start that finds no data is none
        origins = [make_table(recipe, members, part, rule, progress) for part in PARTS]
        _discard_others(recipe, origins)
    together.wait_for_everyone()
    tables = Tables(*(read_table(recipe, part) for part in PARTS))
    objective = Objective(recipe.target, recipe.balance, recipe.fusion, recipe.noise)
    frozen = {members.base.id: model, **dict(zip(ids[1:], members.decoders.each[1:], strict=True))}
    with unchanged(frozen, "the gate"):
        informed = reporting(recipe, progress, "training the gate")
        schedule = recipe.schedule.schedule()
        kept = fit_gate(gate, tables, objective, schedule, begin(recipe), recipe.validate_every, informed)
    if together.is_main_process:
        command = Command("train-gate", recipe_path, overrides)
        made = made_by(command, recipe, together.num_processes, table_hours(recipe))
        regions = f"{recipe.data.validation} regions an expert, validation part of {recipe.data.splits.name}"
        gate.load_state_dict(kept.weights)
        ship_gate(
            TrainedGate(gate.cpu(), kept.step),
            recipe.run,
            recipe.card,
            members.refs,
            tables,
            Choosing(recipe.selection, recipe.rule_settings, recipe.fusion, recipe.most_drop),
            Provenance(made, regions),
        )
    together.wait_for_everyone()
    return recipe.run / WEIGHTS


def _discard_others(recipe: GateRecipe, origins: Sequence[str]) -> None:
    """Throw away a training of other tables or other settings: it takes minutes, not to be gone on with."""
    settled = {"run", "card", "most_drop", "selection", "selection_settings", "k", "tracker"}
    if recipe.kind is None:  # as before there were several kinds
        settled.add("kind")
    asked = json.dumps([recipe.model_dump(mode="json", exclude=settled), *origins], sort_keys=True)
    begun, digest = recipe.run / BEGUN, hashlib.sha256(asked.encode()).hexdigest()
    if begun.is_file() and begun.read_text(encoding="utf-8") == digest:
        return
    for folder in ("checkpoint", "checkpoint.old", "checkpoint.part"):
        shutil.rmtree(recipe.run / folder, ignore_errors=True)
    for file in (BEST, LOG):
        (recipe.run / file).unlink(missing_ok=True)
    replace_text(begun, digest)
