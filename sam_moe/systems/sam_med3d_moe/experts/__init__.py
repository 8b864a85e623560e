"""Expert kinds, a module each: how an expert's weights are recognised, checked, loaded and learnt.

A kind is the class named as its file; other packages add theirs through the entry points
`sam_moe.expert_kinds`. Its card names it as `expert_kind` and keeps what else it needs under `settings`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import ValidationError
from torch import Tensor

from sam_moe.config import Record, explain
from sam_moe.errors import CardError, ConfigError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import Draft, ExpertCard, LoraRanks
from sam_moe.registry.system import DEFAULT_SYSTEM, expert_kinds

KINDS = expert_kinds(DEFAULT_SYSTEM)


@dataclass(frozen=True)
class Converted:
    """An expert in a foreign format: its card as far as it goes, its file, and its tensors in our names."""

    draft: Draft
    file: Path
    state: dict[str, Tensor]


@runtime_checkable
class Given(Protocol):
    """What holds a kind's settings: a card, or the recipe of a training."""

    @property
    def lora(self) -> LoraRanks | None:
        """The ranks of a 'lora'."""

    @property
    def settings(self) -> dict[str, Any] | None:
        """Those of any other kind that has some."""


class Kind(ABC):
    """What a kind of expert is; a state is always that of one expert, by names.

    Attributes:
        record: the settings in its card, None for a kind that has none.
        shows: whether its tensors alone show it and all its card needs; then it has `recognises`.
        from_any: whether a training can begin with the decoder of an expert of any kind.
        own_encoder: whether it embeds regions itself, so that it cannot share the base's embeddings.
    """

    record: ClassVar[type[Record] | None] = None
    shows: ClassVar[bool] = False
    from_any: ClassVar[bool] = False
    own_encoder: ClassVar[bool] = False

    def settings(self, given: Given, where: str) -> Any:
        """The settings in a card or a recipe, checked.

        Raises:
            CardError: for settings that are not this kind's.
        """
        if self.record is None:
            if given.settings is not None:
                raise CardError(f"{where}: settings: {type(self).__name__} has none; leave them out.")
            return None
        try:
            return self.record.model_validate(given.settings or {})
        except ValidationError as error:
            raise CardError(explain(error, self.record, f"{where}: settings")) from error

    def recognises(self, state: Mapping[str, Tensor], base: SamMed3D) -> bool:
        """Whether tensors whose card names no kind are of this one."""
        return False

    def reads(self, source: Path, card: Path | str | None) -> Converted | None:
        """An expert of this kind in a format of another's; None for anything else."""
        return None

    @abstractmethod
    def take(
        self, state: Mapping[str, Tensor], base: SamMed3D, settings: Any, where: str
    ) -> dict[str, Tensor]:
        """The tensors that are stored, by the names that they are stored with.

        Raises:
            WeightsError: for tensors that do not fit the base or the settings.
        """

    def known(self, state: Mapping[str, Tensor], base: SamMed3D, where: str) -> dict[str, Any]:
        """What stored tensors show of their card's fields, beside its kind."""
        return {}

    def check(  # noqa: B027 (most kinds have nothing to compare)
        self, card: ExpertCard, state: Mapping[str, Tensor], where: str
    ) -> None:
        """Raise a WeightsError for stored tensors that are not what the card describes."""

    @abstractmethod
    def build(
        self, state: Mapping[str, Tensor], base: SamMed3D, card: ExpertCard, where: str
    ) -> MaskDecoder | SamMed3D:
        """The frozen expert in fp32: a decoder for the base's embeddings, or a model where `own_encoder`.

        The base is not changed.

        Raises:
            CardError: for tensors of another kind.
            WeightsError: for tensors that do not fit.
        """

    def learner(
        self, decoder: MaskDecoder, settings: Any, seed: int, start: Mapping[str, Tensor] | None = None
    ) -> MaskDecoder:
        """A copy of a decoder in which what makes an expert of this kind requires gradients, and no more.

        `start` are the stored tensors of an expert of this kind and these settings, to go on from. A kind
        that no training makes leaves this and `stored` out.
        """
        raise NotImplementedError

    def stored(self, learner: MaskDecoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is stored of a learner's weights at the step that is kept."""
        raise NotImplementedError


def asked() -> tuple[str, ...]:
    """The kinds in the order in which they look at what is handed in: another package's before our own.

    Ours leave nothing over, since all that is neither a whole model nor deltas is a decoder to them.
    """
    return (*(name for name in KINDS.names if name not in KINDS.own), *KINDS.own)


def trained_kind(name: str) -> Kind:
    """A kind that a training can make.

    Raises:
        ConfigError: for one that no training makes, or as `load_kind`.
    """
    kind = load_kind(name)
    if type(kind).learner is Kind.learner or type(kind).stored is Kind.stored:
        raise ConfigError(f"kind: {name!r} has no training. Choose another kind, such as 'decoder'.")
    return kind


def kind_of(card: ExpertCard) -> Kind:
    """The kind of a card's expert.

    Raises:
        ConfigError: for one of another package that cannot be imported.
    """
    return load_kind(card.expert_kind)


def load_kind(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ConfigError: for an unknown one, or one of another package that cannot be imported.
    """
    kind: Kind = KINDS.load(name)()
    if kind.shows and type(kind).recognises is Kind.recognises:
        raise ConfigError(
            f"expert kind {name!r} has `shows` and no `recognises`, so that no tensors would show it. Add "
            "the method, or leave `shows` out."
        )
    return kind
