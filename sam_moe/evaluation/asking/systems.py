"""Systems under test: whatever answers an opened scan, prompt by prompt; a model of ours is one of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import JsonValue

from sam_moe.assemble.load import load
from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.asking.steps import ALL, Kind
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.simulate import Mask
from sam_moe.registry import BackboneCard, Card, Entry, GateCard
from sam_moe.registry.finding import find_model
from sam_moe.space.volume import Volume
from sam_moe.systems.sam_med3d_moe.cards.parts import find_parts

_SHARED_BYTES = 1 << 30
_WORDS = {"title", "description", "licence", "attribution", "made_by", "measured", "not_for"}


@dataclass(frozen=True)
class Reply:
    """An answer: the mask on the scan's grid; of a mixture also who gave it and how sure the gate was."""

    mask: Mask
    answered: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class SystemUnderTest(Protocol):
    """What an evaluation asks of a system: open a scan, answer what was said about a target so far.

    It is never shown the truth. What it raises makes a failed row and no more; the next target is asked all
    the same.
    """

    @property
    def id(self) -> str:
        """Its name in every table."""

    @property
    def hears(self) -> frozenset[Kind]:
        """What it understands; a protocol with anything else is not asked of it."""

    def open(self, scan: Volume) -> None:
        """Take up a scan."""

    def answer(self, said: Sequence[Item]) -> Reply:
        """Answer all items said about a target so far; only the last is new, one alone begins a target."""

    def describe(self) -> dict[str, JsonValue]:
        """What to note about it: id, checksum, licence."""


class AskedPredictor:
    """A model of ours; each further item refines, as in a session with a person."""

    hears: frozenset[Kind] = ALL

    def __init__(
        self,
        model: Model,
        described: Mapping[str, JsonValue],
        shared: EmbeddingCache | None = None,
    ) -> None:
        self.model, self._described, self._shared = model, dict(described), shared
        self.id = model.id
        self._session: Predictor | None = None
        self._begun = False  # whether what was said first about the target in hand was answered

    def open(self, scan: Volume) -> None:
        """Take up a scan, and forget what was embedded: seconds are those of a fresh scan.

        With a shared cache nothing is forgotten, and who is asked first pays for all.
        """
        cache = EmbeddingCache() if self._shared is None else self._shared
        self._session = self.model.open(scan, cache=cache)
        self._begun = False

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def session(self) -> Predictor:
        """The session on the scan that is open."""
        if self._session is None:
            raise PromptError("no scan is open. Call open(scan) before the first prompt.")
        return self._session

    def answer(self, said: Sequence[Item]) -> Reply:
        """Predict the first item, refine by each further one; after a refusal begin anew with all of them."""
        if len(said) > 1 and self._begun:
            found = self.session.refine(said[-1])
        else:
            self._begun = False
            found = self.session.predict(*said)
            self._begun = True
        mask = np.asarray(found.mask.numpy().astype(bool))
        if found.answered is None:
            return Reply(mask)
        return Reply(mask, dict(found.answered.experts), dict(found.answered.confidence))

    def describe(self) -> dict[str, JsonValue]:
        """Id, title, checksum of the weights, licence."""
        return self._described


def ask_models(
    models: Sequence[str], device: str = "auto", share_embeddings: bool = False
) -> tuple[AskedPredictor, ...]:
    """Models, mixtures or experts alone as systems, by id, card or folder.

    `share_embeddings` embeds each region once for all that have one encoder: the same masks in a fraction of
    the time, but no seconds to compare systems by.

    Raises:
        ConfigError: for two of one id.
        CardError: for an unknown id, the known ones listed.
    """
    systems: list[AskedPredictor] = []
    shared = EmbeddingCache(_SHARED_BYTES) if share_embeddings else None
    for model in models:
        entry = find_model(model)
        loaded = load(entry.path, device=device)
        if any(other.id == loaded.id for other in systems):
            raise ConfigError(
                f"two systems are called {loaded.id}. Expected different ids; give each once, or "
                "change the id in one card."
            )
        described = describe(entry) | {"box_strategy": loaded.box_strategy, **loaded.lowering.model_dump()}
        described["embeddings"] = "shared with the systems of one encoder" if share_embeddings else "its own"
        systems.append(AskedPredictor(loaded, described, shared))
    return tuple(systems)


def describe(entry: Entry[Card]) -> dict[str, JsonValue]:
    """What a result notes of a model: a gate's checksum stands for its parts', which it names in turn."""
    card = entry.card
    licence, checksum = card.licence, card.weights.sha256 if card.weights else None
    cards: list[Card] = [card]
    if isinstance(card, BackboneCard) and card.weights is None and card.hub is not None:
        checksum = card.hub.sha256  # of the public file, before conversion
    if isinstance(card, GateCard):
        parts = find_parts(Entry(card, entry.path))
        licence = parts.licence
        cards += [parts.base.card, *(expert.card for expert in parts.experts)]
    return {
        "id": card.id,
        "title": card.title,
        "sha256": checksum,
        "licence": licence,
        "settings": _settings(cards),
    }


def _settings(cards: Sequence[Card]) -> str:
    """A digest of what cards say beside their words: a gate with another threshold answers otherwise."""
    said = [card.model_dump(mode="json", exclude=_WORDS) for card in cards]
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
