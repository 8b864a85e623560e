"""The recipe of an expert: what `sam-moe finetune` reads."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from sam_moe.registry import Cover, LoraRanks
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.registry.system import check_kind
from sam_moe.systems.sam_med3d_moe.prompted import DEPTHS
from sam_moe.training.recipes.settings import LabelledScans, Store, TrainingRecipe, Words


class ExpertWords(Words):
    """What a person writes on an expert's card."""

    covers: tuple[Cover, ...] = Field(min_length=1, description="What it is there for.")


class TaskRecipe(LabelledScans):
    """What is learnt, and from what."""

    structures: dict[str, tuple[str, ...]] = Field(
        min_length=1,
        description="Each structure to learn, and its labels by name or 'set/name'; of several, their union.",
    )
    phantom_share: float = Field(0.0, ge=0, le=1, description="Share of procedural phantoms among regions.")


class FinetuneRecipe(TrainingRecipe):
    """An expert for one task or several. Paths are relative to the folder the command is given in."""

    seed: int = Field(0, description="Of the regions and of what is drawn from them.")
    base: str = Field(DEFAULT_MODEL, description="The general model: its id, card or folder.")
    start: str | None = Field(
        None, description="Another expert of the same base to go on from: its id, card or folder."
    )
    kind: str = Field(
        "decoder",
        description="A mask decoder of its own, or low-rank deltas ('lora') on the base's; other packages "
        "have kinds of their own.",
    )
    lora: LoraRanks | None = Field(None, description="Ranks of the deltas; for kind 'lora' only.")
    settings: dict[str, Any] | None = Field(None, description="What another package's kind needs.")
    card: ExpertWords = Field(description="What the expert's card says beside what the training writes.")
    data: TaskRecipe
    regions: int = Field(1500, gt=0, description="Regions that are cut and encoded once, to learn from.")
    validation_regions: int = Field(64, ge=0, description="Regions of the validation part; 0 for none.")
    corrections: tuple[float, ...] = Field(
        DEPTHS, min_length=1, description="How likely an answer is followed by 0, 1, 2, … correcting clicks."
    )
    validate_every: int = Field(100, gt=0, description="Steps between validations; the best is kept.")
    store: Store = Field("float16", description="How the result's numbers are stored.")

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        return check_kind(kind, None)

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
