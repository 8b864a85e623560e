"""The card of an expert: what was learnt on top of which backbone, for what, under which terms."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sam_moe.config import Record
from sam_moe.registry.parts import (
    FORMAT,
    Architecture,
    Attribution,
    CardId,
    MadeBy,
    Measurement,
    Positive,
    Sha256,
    Weights,
    same_file,
)
from sam_moe.registry.system import SystemField, check_kind

# Fields that format 1 gave to two kinds; the others have theirs under `settings`.
_FIELDS = {"lora": "lora", "architecture": "full"}


class Base(Record):
    """The backbone that something grew on and works with, and no other."""

    id: CardId = Field(description="Id of the backbone's card.")
    sha256: Sha256 = Field(
        description="sam_moe.weights.checksums.fingerprint of the backbone: over its tensors, not its file."
    )


class LoraRanks(Record):
    """Low-rank deltas on layers of the base's decoder (LoRA, Hu et al., arXiv 2106.09685)."""

    rank: Positive = Field(description="Rank of every layer that per_layer does not name.")
    alpha: float = Field(gt=0, description="The delta is scaled by alpha / rank.")
    per_layer: dict[str, Positive] = Field(
        default_factory=dict, description="Ranks of layers by their names in the mask decoder."
    )


class Cover(Record):
    """Something an expert is there for."""

    structure: str = Field(min_length=1, description="Name of the structure, in lower case: 'spinal cord'.")
    modality: str = Field(min_length=1, description="'CT', 'MR', 'US', …; with a sequence: 'MR T2'.")


class ExpertCard(Record):
    """What was learnt on top of a backbone; its kind is one of its system's, or of another package's."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    id: CardId = Field(description="Name of the card and of its folder.")
    kind: Literal["expert"] = Field("expert", description="What the card describes.")
    system: SystemField = None
    expert_kind: str = Field(
        description="'decoder' is a mask decoder, 'lora' low-rank deltas on the base's, 'full' a model with "
        "its own encoder; other packages have kinds of their own."
    )
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it is good at.")
    base: Base
    lora: LoraRanks | None = Field(None, description="Ranks of the deltas; for expert_kind 'lora' only.")
    architecture: Architecture | None = Field(
        None, description="Sizes of the whole network; for expert_kind 'full' only."
    )
    settings: dict[str, Any] | None = Field(None, description="What an expert of another kind needs.")
    covers: tuple[Cover, ...] = Field(min_length=1, description="What it is there for.")
    weights: Weights
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' licence.")
    attribution: tuple[Attribution, ...] = Field((), description="Sources to credit.")
    made_by: MadeBy | None = Field(None, description="How to make the weights again.")
    measured: tuple[Measurement, ...] = Field((), description="What is known of its quality.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")
    feature_bank: Weights | None = Field(
        None, description="What the gate sees of a few of its cases, as safetensors beside the card."
    )

    @field_validator("expert_kind")
    @classmethod
    def _known(cls, name: str, info: Any) -> str:
        return check_kind(name, info.data.get("system"))

    @model_validator(mode="after")
    def _agrees(self) -> "ExpertCard":
        for field, kind in _FIELDS.items():
            if (getattr(self, field) is not None) != (self.expert_kind == kind):
                do = "add it" if self.expert_kind == kind else "leave it out"
                raise ValueError(
                    f"'{field}' is for expert_kind '{kind}' alone, and this one is '{self.expert_kind}'; {do}"
                )
        if self.settings is not None and self.expert_kind in ("decoder", *_FIELDS.values()):
            raise ValueError(f"expert_kind '{self.expert_kind}' has no 'settings'; leave them out")
        if self.id == self.base.id:
            raise ValueError(f"id '{self.id}' is the base's; give the expert one of its own")
        if self.feature_bank is not None and same_file(self.feature_bank.file, self.weights.file):
            raise ValueError(f"feature_bank.file '{self.weights.file}' is weights.file; they are two files")
        return self
