"""What an expert grows from: the general model's decoder or another expert's, noted in the run's folder."""

import json
from pathlib import Path

from sam_moe.errors import ConfigError
from sam_moe.files import replace_text
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import Entry, ExpertCard
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.experts import load_kind
from sam_moe.systems.sam_med3d_moe.finetune.embedded import embedded_path, origin_of
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.training.engine.best import BEST
from sam_moe.weights.files import read_state

BEGUN = "begun.json"


def learner_of(recipe: FinetuneRecipe, base: LoadedBase, start: Entry[ExpertCard] | None) -> MaskDecoder:
    """What learns: a copy of the base's decoder or of that of `start`.

    Raises:
        ConfigError: for a `start` of another base, or of other ranks than the recipe's.
    """
    decoder, kind = base.model.mask_decoder, load_kind(recipe.kind)
    settings = kind.settings(recipe, "the recipe")
    if start is None:
        return kind.learner(decoder, settings, recipe.seed)
    if start.card.base.sha256 != base.sha256:
        raise ConfigError(
            f"start: {start.card.id} grew on another {start.card.base.id} than {recipe.base}: base.sha256 is "
            f"{start.card.base.sha256}, expected {base.sha256}. Name an expert of this base, or leave "
            "`start` out."
        )
    if kind.from_any:
        return kind.learner(load_decoder(start, base.model), settings, recipe.seed)
    if (recipe.kind, recipe.lora, recipe.settings) != (
        start.card.expert_kind,
        start.card.lora,
        start.card.settings,
    ):
        has = start.card.lora or start.card.settings or "a decoder of its own"
        raise ConfigError(
            f"start: {start.card.id} has {has}, and the recipe asks for {recipe.lora or recipe.settings}. "
            f"An expert of kind {recipe.kind!r} goes on from one of the same kind and settings; "
            "give it those, or set kind to decoder."
        )
    state = read_state(start.folder / start.card.weights.file)
    return kind.learner(decoder, settings, recipe.seed, state)


def note_start(run: Path, sha256: str, start: Entry[ExpertCard] | None) -> None:
    """Note what a run grows from; one to go on with must have grown from the same base and expert.

    Its checkpoints and figures are no others'.

    Raises:
        ConfigError: where the folder's run grew from another base or expert.
    """
    from_ = None if start is None else start.card.weights.sha256
    note, found = run / BEGUN, origin_of(embedded_path(run, "train"))
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
