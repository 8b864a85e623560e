"""Systems under test: what answers prompts on an opened scan, or segments it by itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import JsonValue

from sam_moe.assemble.load import load, load_automatic
from sam_moe.assemble.parts import find_parts
from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.asking.steps import ALL, Kind
from sam_moe.predict.automatic.model import AutomaticModel, AutomaticSession
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.simulate import Mask
from sam_moe.registry import AutomaticCard, BackboneCard, Card, Entry, GateCard
from sam_moe.registry.finding import PROMPTABLE, as_promptable, find_model
from sam_moe.space.volume import Volume

_SHARED_BYTES = 1 << 30
_PROSE = {"title", "description", "licence", "attribution", "made_by", "measured", "not_for"}


@dataclass(frozen=True)
class Reply:
    """An answer: the mask on the scan's grid; of a mixture also its routing.

    `answered` has the weights of the experts behind it, `confidence` the gate's in every expert, `why` the
    reason for the choice, `regions` the number of regions that were decoded.
    """

    mask: Mask
    answered: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    regions: int = 0


@runtime_checkable
class SystemUnderTest(Protocol):
    """What an evaluation needs of a system: open a scan, answer the prompts about a target so far.

    It is never shown the truth. What it raises makes a failed row and no more; the next target follows all
    the same.
    """

    @property
    def id(self) -> str:
        """Its name in every table."""

    @property
    def supports(self) -> frozenset[Kind]:
        """The kinds of prompts that it takes; no other is given to it."""

    def open(self, scan: Volume) -> None:
        """Take up a scan."""

    def answer(self, items: Sequence[Item]) -> Reply:
        """Answer all items about a target so far; only the last is new, one alone begins a target."""

    def describe(self) -> dict[str, JsonValue]:
        """What to note about it: id, checksum, licence."""


@runtime_checkable
class AutomaticUnderTest(Protocol):
    """What an evaluation needs of a system that takes no prompts: open a scan, segment it once.

    What it raises makes a failed row of each of the scan's structures and no more.
    """

    @property
    def id(self) -> str:
        """Its name in every table."""

    @property
    def structures(self) -> frozenset[str]:
        """The names of all structures that it knows, whatever the scan."""

    def open(self, scan: Volume) -> None:
        """Take up a scan."""

    def segment(self, names: Sequence[str]) -> Mapping[str, Reply]:
        """An answer for each structure that it looked for in the open scan, by name; empty: not found.

        `names` are the structures that are scored; what else is answered is left out of the score.
        """

    def describe(self) -> dict[str, JsonValue]:
        """What to note about it: id, checksum, licence."""


System = SystemUnderTest | AutomaticUnderTest


class ModelUnderTest:
    """A model of ours; each further item refines, as in a session with a person."""

    supports: frozenset[Kind] = ALL

    def __init__(
        self,
        model: Model,
        described: Mapping[str, JsonValue],
        shared: EmbeddingCache | None = None,
    ) -> None:
        self.model, self._described, self._shared = model, dict(described), shared
        self.id = model.id
        self._session: Predictor | None = None
        self._begun = False  # whether the first prompt about the target in hand was answered

    def open(self, scan: Volume) -> None:
        """Take up a scan, and forget what was embedded: seconds are those of a fresh scan.

        With a shared cache nothing is forgotten, and the first system pays for all.
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

    def answer(self, items: Sequence[Item]) -> Reply:
        """Predict the first item, refine by each further one; after a refusal begin anew with all of them."""
        if len(items) > 1 and self._begun:
            return _reply(self.session.refine(items[-1]))
        return self.answer_together(items)

    def answer_together(self, items: Sequence[Item]) -> Reply:
        """Predict a new target from all of its items at once, as `sam-moe predict` does."""
        self._begun = False
        found = self.session.predict(*items)
        self._begun = True
        return _reply(found)

    def describe(self) -> dict[str, JsonValue]:
        """Id, title, checksum of the weights, licence."""
        return self._described


def _reply(found: Prediction) -> Reply:
    mask, routing = np.asarray(found.mask.numpy().astype(bool)), found.answered
    if routing is None:
        return Reply(mask)
    regions = sum(routing.regions.values())
    return Reply(mask, dict(routing.experts), dict(routing.confidence), routing.why, regions)


class AutomaticModelUnderTest:
    """An automatic model of ours, which takes a scan for the data set that it is most like.

    Weights that hold no reference cannot know which that is: there it is the set that has most of the names.
    """

    def __init__(self, model: AutomaticModel, described: Mapping[str, JsonValue]) -> None:
        self.model, self._described = model, dict(described)
        self.id = model.id
        self.structures = frozenset(label.name for each in model.network.sets for label in each.labels)
        self._session: AutomaticSession | None = None

    def open(self, scan: Volume) -> None:
        """Take up a scan."""
        self._session = self.model.open(scan)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def segment(self, names: Sequence[str]) -> Mapping[str, Reply]:
        """The structures of the data set that the scan is taken for; `why` names that set."""
        if self._session is None:
            raise PromptError("no scan is open. Call open(scan) before segment(names).")
        try:
            found = self._session.segment()
        except ConfigError:  # it knows several sets and has no reference to choose one by
            found = self._session.segment(self._set_with(names))
        labels, experts, why = found.labels.numpy(), found.experts, str(found.likeness)
        return {name: Reply(labels == value, experts, why=why) for value, name in found.names.items()}

    def _set_with(self, names: Sequence[str]) -> str:
        sets = self.model.network.sets
        return max(sets, key=lambda each: len({label.name for label in each.labels} & set(names))).id

    def describe(self) -> dict[str, JsonValue]:
        """Id, title, checksum of the weights, licence."""
        return self._described


def ask_systems(models: Sequence[str], device: str = "auto") -> tuple[System, ...]:
    """Models, mixtures, experts alone and automatic models as systems, by id, card or folder.

    Raises:
        ConfigError: for two of one id.
        CardError: for an unknown id, the known ones listed.
    """
    systems: list[System] = []
    for model in models:
        entry = find_model(model)
        if isinstance(entry.card, AutomaticCard):
            loaded = load_automatic(entry.path, device=device)
            systems.append(AutomaticModelUnderTest(loaded, describe(entry)))
        else:
            systems += ask_models((str(entry.path),), device)
    _named_apart(systems)
    return tuple(systems)


def ask_models(
    models: Sequence[str], device: str = "auto", share_embeddings: bool = False
) -> tuple[ModelUnderTest, ...]:
    """Models, mixtures or experts alone as systems, by id, card or folder.

    `share_embeddings` embeds each region once for all that have one encoder: the same masks in a fraction of
    the time, but no seconds to compare systems by.

    Raises:
        ConfigError: for two of one id.
        CardError: for an unknown id, the known ones listed; for an automatic model, which takes no prompts.
    """
    systems: list[ModelUnderTest] = []
    shared = EmbeddingCache(_SHARED_BYTES) if share_embeddings else None
    for model in models:
        entry = as_promptable(find_model(model, wanted=PROMPTABLE))
        loaded = load(entry.path, device=device)
        described = describe(entry) | {"box_strategy": loaded.box_strategy, **loaded.lowering.model_dump()}
        described["embeddings"] = "shared with the systems of one encoder" if share_embeddings else "its own"
        systems.append(ModelUnderTest(loaded, described, shared))
    _named_apart(systems)
    return tuple(systems)


def _named_apart(systems: Sequence[System]) -> None:
    ids = [system.id for system in systems]
    if twice := next((id for id in ids if ids.count(id) > 1), None):
        raise ConfigError(
            f"two systems are called {twice}. Expected different ids; give each once, or "
            "change the id in one card."
        )


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
    """A digest of what cards hold beside their prose: a gate with another threshold answers otherwise."""
    fields = [card.model_dump(mode="json", exclude=_PROSE) for card in cards]
    return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
