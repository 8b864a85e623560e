"""The card of a gate: over which experts it chooses, in which order its outputs stand, and how it chooses."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sam_moe.config import Record
from sam_moe.moe.gates import GATES
from sam_moe.moe.names import Fusion
from sam_moe.moe.rules import RULES
from sam_moe.registry.expert import Base
from sam_moe.registry.parts import FORMAT, CardId, MadeBy, Measurement, Positive, Sha256, Weights, same_file
from sam_moe.registry.system import SystemField
from sam_moe.variants import checked

GateMode = Literal["both", "image", "prompt"]
Share = Annotated[float, Field(ge=0, le=1)]


# The kind of gate of a card that names none.
DEFAULT_GATE = "trunk"

# Rules whose one setting has a field of its own in a card: rule, field, the rule's name of it.
_FIELDS = (("threshold", "threshold", "tau"), ("top_k", "k", "k"), ("forced", "forced", "index"))


def card_fields(rule: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by which a card names a rule; `GateCard.rule_settings` gives the settings back."""
    rest, fields = dict(settings), {"selection": rule}
    for strategy, field, setting in _FIELDS:
        if rule == strategy and setting in rest:
            fields[field] = rest.pop(setting)
    return fields | {"selection_settings": rest or None}


class ExpertRef(Record):
    """An output of the gate, and the expert it stands for."""

    id: CardId = Field(description="Id of the expert's card; of the backbone's for the general expert.")
    sha256: Sha256 = Field(
        description="weights.sha256 of the expert's card; for the general expert base.sha256."
    )


class GateSizes(Record):
    """The sizes of a gating network."""

    features: Positive = Field(description="Width of the embeddings it sees: the backbone's out_channels.")
    hidden: Positive | None = Field(None, description="Width of its trunk, for kinds that have one.")
    columns: Positive = Field(description="Outputs, one for each expert.")
    mode: GateMode = Field(
        "both", description="What it looks at; the image or the prompt alone are controls."
    )
    kind: str | None = Field(None, description=f"Kind of gate; '{DEFAULT_GATE}' if left out.")

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str | None) -> str | None:
        return kind if kind is None else checked(GATES, kind)

    @model_validator(mode="after")
    def _has_a_trunk(self) -> "GateSizes":
        if self.kind in (None, DEFAULT_GATE) and self.hidden is None:
            raise ValueError(f"kind '{DEFAULT_GATE}' needs 'hidden', the width of its trunk; add it")
        return self


class CurvePoint(Record):
    """What one fallback threshold gave on the validation cases, against the general expert alone, in Dice."""

    threshold: Share = Field(description="Confidence below which the general expert answers.")
    general_drop: float = Field(description="Largest loss of any general class.")
    specialised_gain: float = Field(description="Mean gain over the specialised classes.")


class GateCard(Record):
    """A gating network over a backbone and its experts."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    id: CardId = Field(description="Name of the card and of its folder.")
    system: SystemField = None
    kind: Literal["gate"] = Field("gate", description="What the card describes.")
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it chooses between.")
    base: Base
    experts: tuple[ExpertRef, ...] = Field(
        min_length=1, description="In the order of the gate's outputs; the general expert first."
    )
    architecture: GateSizes
    selection: str = Field(
        "threshold",
        description="How experts are chosen by their confidence: a rule of `sam_moe.moe.rules` or of another "
        "package.",
    )
    threshold: Share | None = Field(
        None, description="Confidence below which the general expert answers; for 'threshold'."
    )
    k: Positive | None = Field(None, description="Experts that answer; for 'top_k'.")
    forced: CardId | None = Field(None, description="Id of the one expert that answers; for 'forced'.")
    selection_settings: dict[str, str | int | float | bool] | None = Field(
        None, description="Further settings of the selection, by name; experts by their ids."
    )
    fusion: Fusion = Field("logits", description="What is averaged where several experts answer.")
    weights: Weights
    feature_bank: Weights | None = Field(
        None, description="What the gate saw of a few prompts of each expert, as safetensors beside the card."
    )
    licence: str = Field(min_length=1, description="SPDX identifier of the gate's own licence.")
    made_by: MadeBy | None = Field(None, description="How to make the weights again.")
    measured: tuple[Measurement, ...] = Field((), description="What is known of its quality.")
    curve: tuple[CurvePoint, ...] = Field((), description="What other thresholds gave, by threshold.")
    not_for: str = Field("", description="What it must not be used for, beyond what its experts say.")

    @property
    def rule_settings(self) -> dict[str, str | int | float | bool]:
        """All settings of the selection by the rule's own names, experts by their ids."""
        found = dict(self.selection_settings or {})
        for _, field, setting in _FIELDS:
            if getattr(self, field) is not None:
                found[setting] = getattr(self, field)
        return found

    @field_validator("selection")
    @classmethod
    def _known(cls, selection: str) -> str:
        return checked(RULES, selection)

    @model_validator(mode="after")
    def _orders(self) -> "GateCard":
        ids = [expert.id for expert in self.experts]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if twice:
            raise ValueError(f"experts names {', '.join(twice)} more than once; each output has its own")
        if (ids[0], self.experts[0].sha256) != (self.base.id, self.base.sha256):
            raise ValueError(
                f"experts[0] is {ids[0]!r}; the first output is the general expert's: put the base's id "
                f"{self.base.id!r} and its sha256 there"
            )
        if self.feature_bank is not None and same_file(self.feature_bank.file, self.weights.file):
            raise ValueError(f"feature_bank.file '{self.weights.file}' is weights.file; they are two files")
        if self.architecture.columns != len(ids):
            raise ValueError(
                f"architecture.columns {self.architecture.columns} must be {len(ids)}, as experts"
            )
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> "GateCard":
        if (self.selection_settings or {}).get("raw") is True:
            raise ValueError(
                "selection_settings.raw keeps weights that do not sum to 1, and the masks of experts are "
                "averaged by weights that do; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _chooses(self) -> "GateCard":
        for strategy, field, setting in _FIELDS:
            if self.selection == strategy and getattr(self, field) is None:
                raise ValueError(f"selection '{strategy}' needs '{field}'; add it")
            if self.selection != strategy and getattr(self, field) is not None:
                raise ValueError(
                    f"'{field}' is for selection '{strategy}', and this is '{self.selection}'; leave it out"
                )
            if self.selection == strategy and setting in (self.selection_settings or {}):
                raise ValueError(f"selection_settings.{setting} is this card's '{field}'; leave it out")
        ids = [expert.id for expert in self.experts]
        if self.k is not None and self.k > len(ids):
            raise ValueError(f"k {self.k} is more than the {len(ids)} experts there are")
        if self.forced is not None and self.forced not in ids:
            raise ValueError(f"forced {self.forced!r} is not among the experts {', '.join(ids)}")
        return self
