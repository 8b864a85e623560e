"""The recipe of a gate: what `sam-moe train-gate` reads."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from sam_moe.config import Record
from sam_moe.moe.gates import GATES
from sam_moe.moe.names import Fusion
from sam_moe.moe.rules import RULES
from sam_moe.registry import GateMode
from sam_moe.training.recipes.settings import LabelledScans, Naming, ScheduleRecipe, TrainingRecipe
from sam_moe.variants import checked

Supervision = Literal["owner", "best", "fused"]


class GateWords(Naming):
    """What a person writes on a gate's card; credits stand on its experts' cards."""

    not_for: str = Field("", description="What it must not be used for, beyond what its experts say.")


class GateExpert(Record):
    """One expert, and what is its own in the data."""

    expert: str = Field(description="Id of its card; or the path of its folder, from where you stand.")
    structures: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="Names of its structures; each the union of labels, by name or 'set/name'."
    )
    weights: dict[str, float] = Field({}, description="How often each of its sets is drawn.")


class GateData(LabelledScans):
    """Labelled scans; the general expert owns every structure that no expert has and none leaves out."""

    leave_out: tuple[str, ...] = Field(
        (), description="Structures that no expert learns, by name or 'set/name'."
    )
    weights: dict[str, float] = Field({}, description="How often the general expert's sets are drawn.")
    unlabelled_share: float = Field(
        0.3, ge=0, lt=1, description="Share of the general expert's regions about places without any label."
    )
    spoil_share: float = Field(
        0.3, ge=0, le=1, description="Share of training regions with scanner's faults."
    )
    train: int = Field(300, gt=0, description="Training regions an expert, twice that for the general one.")
    validation: int = Field(100, gt=0, description="Validation regions an expert, twice for the general one.")


class GateSchedule(ScheduleRecipe):
    """As any schedule, of prompts instead of regions; defaults are a gate's."""

    steps: int = Field(800, gt=0, description="Optimiser steps.")
    batch_size: int = Field(256, gt=0, description="Prompts per step and process.")
    learning_rate: float = Field(2e-3, gt=0, description="At the plateau.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's.")
    warmup: int = Field(50, ge=0, description="Steps of linear warm-up.")
    decay: float = Field(0.8, gt=0, le=1, description="Share of the steps in which the rate falls to 0.")
    average: float = Field(0.98, ge=0, lt=1, description="Decay of the averaged weights.")
    save_every: int = Field(250, gt=0, description="Steps between checkpoints.")
    log_every: int = Field(50, gt=0, description="Steps between rows of the log.")


class GateRecipe(TrainingRecipe):
    """A gate over a backbone and its experts. Paths are relative to the folder the command is given in."""

    base: str = Field(description="Id of the backbone's card; or the path of its folder.")
    card: GateWords = Field(description="What the gate's card says beside what the training writes.")
    experts: tuple[GateExpert, ...] = Field(min_length=1, description="In the order of the gate's outputs.")
    data: GateData
    hidden: int = Field(32, gt=0, description="Width of the gate's trunk.")
    mode: GateMode = Field("both", description="What it sees; less is a control.")
    target: Supervision = Field(
        "owner",
        description="What it learns: the structure's owner, the best expert, or the fused mask's loss.",
    )
    balance: float = Field(0.0, ge=0, description="Weight of the term that wants all experts used alike.")
    noise: float = Field(0.3, ge=0, description="Noise on features, in shares of their spread.")
    kind: str | None = Field(
        None, description="The kind of gate: a module of `sam_moe.moe.gates`; else trunk."
    )
    selection: str = Field(
        "threshold",
        description="How experts are chosen by their confidence: a rule of `sam_moe.moe.rules` or of another "
        "package.",
    )
    selection_settings: dict[str, str | int | float | bool] | None = Field(
        None, description="Further settings of the selection, by name; experts by their ids."
    )
    k: int | None = Field(None, gt=0, description="Experts that answer; for 'top_k'.")
    fusion: Fusion = Field("logits", description="How several answers are joined.")
    most_drop: float = Field(0.005, ge=0, description="Dice that a general structure may lose on validation.")
    turns: int = Field(3, gt=0, description="Answers to each way of asking: the first and its corrections.")
    schedule: GateSchedule = GateSchedule()
    validate_every: int = Field(50, gt=0, description="Steps between validations; the best is kept.")

    @property
    def rule_settings(self) -> dict[str, str | int | float | bool]:
        """All settings of the selection by the rule's own names; a threshold is chosen after the training."""
        return (self.selection_settings or {}) | ({} if self.k is None else {"k": self.k})

    @field_validator("kind")
    @classmethod
    def _kind_is_known(cls, kind: str | None) -> str | None:
        return kind if kind is None else checked(GATES, kind)

    @field_validator("selection")
    @classmethod
    def _rule_is_known(cls, selection: str) -> str:
        return checked(RULES, selection)

    @model_validator(mode="after")
    def _fits(self) -> "GateRecipe":
        if (self.k is not None) != (self.selection == "top_k"):
            raise ValueError("'k' is for selection 'top_k' alone, which needs it")
        if self.k is not None and self.k > 1 + len(self.experts):
            raise ValueError(
                f"k {self.k} is more than the {1 + len(self.experts)} experts, the base among them"
            )
        fixed = {
            "threshold": ("tau", "is chosen on the validation part"),
            "top_k": ("k", "is this recipe's 'k'"),
        }
        setting, why = fixed.get(self.selection, ("", ""))
        if setting in (self.selection_settings or {}):
            raise ValueError(f"selection_settings.{setting} {why}; leave it out")
        names = [name for expert in self.experts for name in expert.structures]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"structures {', '.join(twice)} have several experts; name each only once")
        return self
