"""`sam-moe finetune RECIPE.yaml`: from labelled scans to an expert with its card, on a frozen model."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, model_validator

from sam_moe.config import Settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replace_text
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.progress import Progress
from sam_moe.registry import CARD, BackboneCard, Base, Cover, Entry, ExpertCard, Lora, write_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_entry, find_expert
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.finetune.embedded import (
    Embedded,
    embedding_hours,
    keep_embedded,
    origin_of,
)
from sam_moe.systems.sam_med3d_moe.finetune.expert import (
    ExpertLoss,
    ExpertValidation,
    Kind,
    check_untouched,
    lora_learner,
    stored,
    whole_learner,
)
from sam_moe.systems.sam_med3d_moe.prompted.conversation import DEPTHS
from sam_moe.systems.sam_med3d_moe.prompted.regions import Regions
from sam_moe.training.engine.loop import BEST, Kept, Schedule, train
from sam_moe.training.engine.machines import note_machine, processes
from sam_moe.training.recipes.card import ITSELF, WEIGHTS, Store, Words, measurements, store_weights
from sam_moe.training.recipes.parts import (
    LabelledScans,
    ScheduleRecipe,
    check_scans,
    keep_scans,
    learnt_ranges,
    prepare,
    told,
    write_recipe,
)
from sam_moe.training.scans.cache import cache_path, cached_labels, cached_sets, read_cache
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_state

log = logging.getLogger(__name__)

BEGUN = "begun.json"


class ExpertWords(Words):
    """What an expert's card says that no training can know."""

    covers: tuple[Cover, ...] = Field(min_length=1, description="What it is there for.")


class TaskRecipe(LabelledScans):
    """What is learnt, and from what."""

    structures: dict[str, tuple[str, ...]] = Field(
        min_length=1,
        description="Each structure to learn, and its labels by name or 'set/name'; of several, their union.",
    )
    phantom_share: float = Field(0.0, ge=0, le=1, description="Share of procedural phantoms among regions.")


class FinetuneRecipe(Settings):
    """An expert for one task or several. Paths are relative to the folder the command is given in."""

    run: Path = Field(description="Folder for log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of the regions and of what is drawn from them.")
    base: str = Field(DEFAULT_MODEL, description="The general model: its id, card or folder.")
    start: str | None = Field(
        None, description="Another expert of the same base to go on from: its id, card or folder."
    )
    kind: Kind = Field("decoder", description="A mask decoder of its own, or low-rank deltas on the base's.")
    lora: Lora | None = Field(None, description="Ranks of the deltas; for kind 'lora' only.")
    card: ExpertWords = Field(description="What the expert's card says beside what the training knows.")
    data: TaskRecipe
    schedule: ScheduleRecipe
    regions: int = Field(1500, gt=0, description="Regions that are cut and encoded once, to learn from.")
    validation_regions: int = Field(64, ge=0, description="Regions of the validation part; 0 for none.")
    corrections: tuple[float, ...] = Field(
        DEPTHS, min_length=1, description="How likely an answer is followed by 0, 1, 2, … correcting clicks."
    )
    validate_every: int = Field(100, gt=0, description="Steps between validations; the best is kept.")
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")
    store: Store = Field("float16", description="How the result's numbers are stored.")

    @model_validator(mode="after")
    def _agrees(self) -> "FinetuneRecipe":
        if (self.lora is not None) != (self.kind == "lora"):
            raise ValueError(
                "kind 'lora' needs its ranks: add for example lora: {rank: 4, alpha: 4}"
                if self.kind == "lora"
                else f"'lora' is for kind 'lora' alone, and this one is '{self.kind}'; leave it out"
            )
        if empty := [name for name, labels in self.data.structures.items() if not labels]:
            raise ValueError(f"data.structures.{empty[0]} has no labels; name those that make it")
        return self


def finetune(recipe_path: Path, overrides: Sequence[str] = (), progress: Progress | None = None) -> Path:
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
    prepare(recipe.run)
    check_scans(recipe.data, parts, recipe.run)
    entry = find_entry(recipe.base)
    if recipe.card.id == entry.card.id:  # else its card would say so, after the training
        raise ConfigError(f"card.id: {entry.card.id!r} is the base's; give the expert one of its own.")
    strategy = entry.card.default_box_strategy
    base = load_backbone(entry)
    frozen = fingerprint(base)
    start = None if recipe.start is None else find_expert(recipe.start)
    learner = _learner(recipe, base, frozen, start)
    together = processes()
    base.to(together.device)
    with together.main_process_first():
        make_folder(recipe.run)
        _begin(recipe.run, frozen, start)
        # All scans first: what is wrong with one part is not reported after hours of embedding another
        origins = {part: _scans(recipe, part, progress) for part in parts}
        if together.is_main_process:  # not before: a start that finds no data is none to go on from
            write_recipe(recipe, recipe.run)
        for part in parts:
            _embed(recipe, part, origins[part], entry.card, base, frozen, progress)
    note_machine(recipe.run, recipe.schedule.steps)
    validation = None
    if recipe.validation_regions:
        regions = Embedded(_embedded(recipe.run, "validation"))
        validation = ExpertValidation(base, learner, regions, strategy)
    kept = train(
        ExpertLoss(base, learner, recipe.corrections, box_strategy=strategy),
        learner,
        Embedded(_embedded(recipe.run, "train"), recipe.seed + 1),
        Schedule(**recipe.schedule.model_dump()),
        recipe.run,
        recipe.seed + 1,
        validate=validation,
        validate_every=recipe.validate_every,
        tracker=recipe.tracker,
        report=None if progress is None else lambda row: progress("training", row["step"] / row["steps"]),
    )
    check_untouched(base, frozen)
    if together.is_main_process:
        made = told(
            "finetune",
            recipe_path,
            overrides,
            recipe.run,
            recipe.seed,
            recipe.schedule.batch_size,
            together.num_processes,
            sum(embedding_hours(_embedded(recipe.run, part)) for part in parts),
        )
        log.info("shipping the weights of step %d of %d", kept.step, recipe.schedule.steps)
        data = f"{recipe.validation_regions} regions of the validation part of {recipe.data.splits.name}"
        measured = measurements(kept, data)
        if validation is not None:
            general = Kept({}, 0, validation.of_the_base())
            measured += measurements(general, data, ITSELF.format(entry.card.id))
        weights = {name: tensor.cpu() for name, tensor in stored(learner, kept.weights, recipe.kind).items()}
        card = ExpertCard(
            **dict(recipe.card),
            expert_kind=recipe.kind,
            base=Base(id=entry.card.id, sha256=frozen),
            lora=recipe.lora,
            weights=store_weights(Kept(weights, kept.step, kept.figures), recipe.run, recipe.store),
            made_by=made,
            measured=measured,
        )
        write_card(card, recipe.run / CARD)
    together.wait_for_everyone()
    return recipe.run / WEIGHTS


def _learner(
    recipe: FinetuneRecipe, base: SamMed3D, sha256: str, start: Entry[ExpertCard] | None
) -> MaskDecoder:
    """What learns: a copy of the base's decoder or of that of `start`."""
    if start is None:
        if recipe.kind == "decoder":
            return whole_learner(base.mask_decoder)
        assert recipe.lora is not None  # the recipe was checked
        return lora_learner(base.mask_decoder, recipe.lora, recipe.seed)
    if start.card.base.sha256 != sha256:
        raise ConfigError(
            f"start: {start.card.id} grew on another {start.card.base.id} than {recipe.base}: base.sha256 is "
            f"{start.card.base.sha256}, expected {sha256}. Name an expert of this base, or leave `start` out."
        )
    if recipe.kind == "decoder":
        return whole_learner(load_decoder(start, base))
    if start.card.lora != recipe.lora:
        raise ConfigError(
            f"start: {start.card.id} has {start.card.lora or 'a decoder of its own'}, and the recipe asks "
            f"for {recipe.lora}. Deltas go on from deltas of the same ranks; set lora to those, or kind to "
            "decoder."
        )
    assert recipe.lora is not None
    state = read_state(start.folder / start.card.weights.file)
    return lora_learner(base.mask_decoder, recipe.lora, recipe.seed, state)


def _begin(run: Path, sha256: str, start: Entry[ExpertCard] | None) -> None:
    """Note what a run grows from; one to go on with must have grown from the same base and expert.

    Its checkpoints and figures are no others'.
    """
    from_ = None if start is None else start.card.weights.sha256
    note, found = run / BEGUN, origin_of(_embedded(run, "train"))
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if not known and found is not None:
        known = {"base": json.loads(found[0])["base"]}
    if any((run / name).exists() for name in ("checkpoint", "checkpoint.old", BEST)):
        again = "Name another folder, or delete this one to begin anew."
        if (before := known.get("base", sha256)) != sha256:
            raise ConfigError(
                f"{run}: was begun on a general model with the fingerprint {before}, and it now has "
                f"{sha256}. {again}"
            )
        if (earlier := known.get("start", from_)) != from_:
            raise ConfigError(
                f"{run}: was begun from an expert with the SHA-256 {earlier or '(none)'}, and `start` now "
                f"gives {from_ or '(none)'}: it was trained again, or is another. {again}"
            )
    replace_text(note, json.dumps({"base": sha256, "start": from_}) + "\n")


def _embedded(run: Path, part: str) -> Path:
    return run / f"{part}.embedded.safetensors"


def _scans(recipe: FinetuneRecipe, part: str, progress: Progress | None) -> str:
    """Keep the scans of one part, and see that all that is to be learnt is in them; what they came from."""
    data, learning = recipe.data, part == "train"
    if progress is not None:
        progress(f"reading the {part} part", 0.0)
    origin = keep_scans(data, part, recipe.run, learn=data.structures)
    met = cached_labels(cache_path(recipe.run, part))
    missing = [name for name in data.structures if name not in met]
    if not met or (learning and missing):
        raise ConfigError(
            f"the {part} part of {data.splits} holds no voxel of {', '.join(missing)}. Look at the names "
            f"in data.structures and at the labels in the dataset.json of the sets in {data.folder}"
            + ("." if learning else ", or set validation_regions to 0.")
        )
    if unknown := sorted(set(data.weights) - set(cached_sets(cache_path(recipe.run, part)))):
        level = logging.WARNING if learning else logging.INFO
        log.log(level, "data.weights names sets without a case in the %s part: %s", part, ", ".join(unknown))
    return origin


def _embed(
    recipe: FinetuneRecipe,
    part: str,
    scans_origin: str,
    card: BackboneCard,
    base: SamMed3D,
    sha256: str,
    progress: Progress | None,
) -> None:
    """Keep embedded regions of one part; the validation's are never spoiled, nor phantoms."""
    data, learning = recipe.data, part == "train"
    size, preprocessing = base.sizes.image_size, card.preprocessing
    seed = recipe.seed + 1 if learning else 7
    phantoms, spoiled = (data.phantom_share, data.spoil_share) if learning else (0.0, 0.0)
    origin = json.dumps(
        {
            "base": sha256,
            "preprocessing": preprocessing.model_dump(),
            "scans": json.loads(scans_origin),
            "seed": seed,
            "weights": data.weights,
            "phantom_share": phantoms,
            "spoil_share": spoiled,
        }
    )

    def regions() -> Regions:
        scans = read_cache(cache_path(recipe.run, part))
        drawn = (data.weights, phantoms, 0, learnt_ranges(preprocessing), spoiled)
        return Regions(scans, size, seed, 10**9, *drawn, preprocessing.normalisation)

    count = recipe.regions if learning else recipe.validation_regions
    keep_embedded(regions, count, base, _embedded(recipe.run, part), origin, progress)
