"""`sam-moe finetune RECIPE.yaml`: from labelled scans to an expert with its card, on a frozen model."""

import logging
from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.progress import Progress, silent
from sam_moe.registry import CARD, Base, ExpertCard, MadeBy, write_card
from sam_moe.registry.finding import find_expert
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase, load_base
from sam_moe.systems.sam_med3d_moe.experts import trained_kind
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded, embedded_path, embedding_hours
from sam_moe.systems.sam_med3d_moe.finetune.expert import (
    ExpertLoss,
    ExpertValidation,
)
from sam_moe.systems.sam_med3d_moe.finetune.regions import embed_part, keep_recipe_scans
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.systems.sam_med3d_moe.finetune.start import learner_of, note_start
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting
from sam_moe.training.engine.best import Kept, Validation
from sam_moe.training.engine.frozen import unchanged
from sam_moe.training.engine.loop import Learner, train
from sam_moe.training.engine.machines import processes
from sam_moe.training.engine.samples import Samples
from sam_moe.training.recipes.card import ITSELF, measurements, store_weights
from sam_moe.training.recipes.run import (
    Command,
    begin,
    check_folder,
    made_by,
    reporting,
    write_recipe,
)
from sam_moe.training.recipes.scans import check_scans
from sam_moe.weights.files import WEIGHTS

log = logging.getLogger(__name__)


def finetune(recipe_path: Path, overrides: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Follow a recipe and return the path of the expert's weights, `run/model.safetensors`.

    They are the averaged weights of the best validation, with `run/card.json` beside them, so that
    `sam-moe experts add run` takes them. Scans and embedded regions are kept in the run's folder; started
    again on it, the training goes on where it stopped. `progress` is given stages and the share of each done.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        FileError: where the run's folder cannot be written, or is full.
        SamMoeError: for a loss that is no number, or a general model that did not stay as it was.
    """
    recipe = load_settings(FinetuneRecipe, recipe_path, overrides)
    parts = ("train", "validation") if recipe.validation_regions else ("train",)
    trained_kind(recipe.kind)  # refused now, not after the base is loaded
    check_folder(recipe.run)
    check_scans(recipe.data, parts, recipe.run)
    base = load_base(recipe.base)
    card = base.entry.card
    if recipe.card.id == card.id:  # else its card would say so, after the training
        raise ConfigError(f"card.id: {card.id!r} is the base's; give the expert one of its own.")
    start = None if recipe.start is None else find_expert(recipe.start)
    learner = learner_of(recipe, base, start)
    together = processes()
    base.model.to(together.device)
    with together.main_process_first():
        make_folder(recipe.run)
        note_start(recipe.run, base.sha256, start)
        # All scans first: what is wrong with one part is not reported after hours of embedding another
        origins = {part: keep_recipe_scans(recipe, part, progress) for part in parts}
        if together.is_main_process:  # not before: a start that finds no data is none to go on from
            write_recipe(recipe, recipe.run)
        for part in parts:
            embed_part(recipe, part, origins[part], base, progress)
    strategy, validation = card.default_box_strategy, None
    if recipe.validation_regions:
        regions = Embedded(embedded_path(recipe.run, "validation"))
        validation = ExpertValidation(base.model, learner, regions, strategy)
    prompting = Prompting(recipe.corrections, box_strategy=strategy)
    loss = ExpertLoss(base.model, learner, prompting)
    samples = Samples(Embedded(embedded_path(recipe.run, "train"), recipe.seed + 1))
    with unchanged({card.id: base.model}, f"the expert {recipe.card.id}"):
        kept = train(
            Learner(loss, learner),
            samples,
            recipe.schedule.schedule(),
            begin(recipe),
            None if validation is None else Validation(validation, recipe.validate_every),
            reporting(recipe, progress),
        )
    if together.is_main_process:
        spent = sum(embedding_hours(embedded_path(recipe.run, part)) for part in parts)
        made = made_by(Command("finetune", recipe_path, overrides), recipe, together.num_processes, spent)
        log.info("shipping the weights of step %d of %d", kept.step, recipe.schedule.steps)
        _ship(recipe, base, learner, kept, made, validation)
    together.wait_for_everyone()
    return recipe.run / WEIGHTS


def _ship(
    recipe: FinetuneRecipe,
    base: LoadedBase,
    learner: MaskDecoder,
    kept: Kept,
    made: MadeBy,
    validation: ExpertValidation | None,
) -> None:
    """Write the expert's weights and card, with its figures and the general model's."""
    data = f"{recipe.validation_regions} regions of the validation part of {recipe.data.splits.name}"
    measured = measurements(kept, data)
    if validation is not None:
        general = Kept({}, 0, validation.of_the_base())
        measured += measurements(general, data, ITSELF.format(base.entry.card.id))
    weights = {
        name: tensor.cpu() for name, tensor in trained_kind(recipe.kind).stored(learner, kept.weights).items()
    }
    card = ExpertCard(
        **dict(recipe.card),
        expert_kind=recipe.kind,
        base=Base(id=base.entry.card.id, sha256=base.sha256),
        lora=recipe.lora,
        settings=recipe.settings,
        weights=store_weights(Kept(weights, kept.step, kept.figures), recipe.run, recipe.store),
        made_by=made,
        measured=measured,
    )
    write_card(card, recipe.run / CARD)
