"""The card of a converted model: what its tensors show, what a draft says, and guesses that are named so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_moe.config import check_json, read_object
from sam_moe.errors import CardError, ConfigError
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.registry import AutomaticCard
from sam_moe.systems.m4oe.convert.names import TITLES, Origin

# 224 pixels of 1.7 mm are 380 mm, the width of an abdomen; the public code squeezes every slice to 224 pixels
# whatever its millimetres, so there is no true number.
_FIELD_MM, _SLICES_MM = 380.8, 5.0
_GUESSED = (
    "Converted from a checkpoint of {title}. Its data sets' names, spacing and intensity are guesses, unless "
    "a draft gave them: the public code squeezes each slice to one size, whatever its millimetres."
)
_FRESH = (
    " What Swin-MAE lacks started anew: heads, skip connections, last expansion, gates. It answers nothing "
    "before it is trained."
)
_NO_USE = "Clinical use. Nothing was measured for this card."


def read_draft_of(path: Path | None) -> dict[str, Any]:
    """The fields of a draft: any of an automatic card's; none without a file.

    Raises:
        CardError: for a file that holds no object, or is the draft of another kind of card.
    """
    fields = {} if path is None else read_object(path, CardError)
    if fields.get("kind", "automatic") != "automatic":
        raise CardError(f"{path}: kind: is {fields['kind']!r}; give the draft of an automatic model.")
    return fields


def heads_of(draft: Mapping[str, Any], heads: tuple[int, ...] | None, where: str) -> tuple[int, ...]:
    """The classes of each data set, for a checkpoint without heads: as given, or the draft's labels.

    Raises:
        ConfigError: where neither has them.
    """
    if heads:
        return heads
    sets = draft.get("sets")
    try:
        found = tuple(1 + len(each["labels"]) for each in sets or ())
    except (TypeError, KeyError):
        found = ()
    if not found:
        raise ConfigError(
            f"{where}: a Swin-MAE checkpoint has no heads. Give the classes of each data set with the "
            "background, as in --heads 8,5,3, or a draft of the card with `sets` and their `labels`."
        )
    return found


def draft_card(
    draft: Mapping[str, Any], id: str, source: Path, sizes: SwinSizes, experts: int, origin: Origin
) -> AutomaticCard:
    """The card, but for its weights: what the draft says goes first, sets field by field.

    Raises:
        CardError: naming the draft's field and the remedy.
    """
    given = draft.get("sets", [])
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise CardError(f"the draft for {source}: sets: is no list of objects. Give one for each head.")
    if given and len(given) != len(sizes.classes):
        raise CardError(
            f"the draft for {source} has {len(given)} sets, and there are {len(sizes.classes)} heads, of "
            f"{', '.join(map(str, sizes.classes))} classes. Give one set for each head, in their order."
        )
    mixture = {"experts": _experts(given, experts), **_mixture(origin), **draft.get("mixture", {})}
    known = list(mixture["experts"])
    sets = [
        {**_set(number, classes, sizes, known), **(given[number] if given else {})}
        for number, classes in enumerate(sizes.classes)
    ]
    data = {
        "title": f"{TITLES[origin]}, from {source.name}",
        "description": _GUESSED.format(title=TITLES[origin]) + (_FRESH if origin == "swin-mae" else ""),
        "licence": "unknown: ask whoever made the weights",
        "not_for": _NO_USE + (" Its heads are untrained." if origin == "swin-mae" else ""),
        "weights": {"file": "model.safetensors", "sha256": "0" * 64, "size_bytes": 1, "dtype": "float32"},
        **draft,
        "id": id,
        "system": "m4oe",
        "kind": "automatic",
        "architecture": sizes.model_dump(mode="json"),
        "mixture": mixture,
        "sets": sets,
    }
    return check_json(AutomaticCard, data, Path(f"the card for {source}"), CardError)


def _experts(given: list[dict[str, Any]], count: int) -> list[str]:
    """Ids in the order of the checkpoint's experts: a draft's where its sets name as many."""
    named = list(dict.fromkeys(str(each["expert"]) for each in given if "expert" in each))
    if len(named) == count:
        return named
    return [f"expert-{number}" for number in range(count)]


def _mixture(origin: Origin) -> dict[str, Any]:
    """How experts are weighed: as the public code does; where it has none, by the defaults of a card."""
    if origin == "swin-mae":
        return {}
    scores = "channel" if origin == "m4oe" else "forced"
    return {"scores": scores, "pooling": "token", "ungated": 0}


def _set(number: int, classes: int, sizes: SwinSizes, experts: list[str]) -> dict[str, Any]:
    pixel = round(_FIELD_MM / sizes.image_size, 3)
    return {
        "id": f"set-{number}",
        "title": f"data set {number}",
        "modality": "unknown",
        "expert": experts[min(number, len(experts) - 1)],
        "spacing_mm": [pixel, pixel, _SLICES_MM],
        "intensity": {"kind": "mean"},
        "labels": [{"name": f"class-{label}"} for label in range(1, classes)],
    }
