"""The recipe of an automatic model: what `sam-moe train` reads; without torch."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sam_moe.config import Record, Settings
from sam_moe.registry import DataSet, ExpertMixture, HostSizes
from sam_moe.registry.automatic import check_agreement
from sam_moe.training.recipes.settings import ScheduleRecipe, Store, Words
from sam_moe.training.slices.settings import Drawing, SliceData


class PhaseRecipe(Record):
    """One phase: how long, and from what; what learns in it stands in `phases.py`."""

    phase: str = Field(
        min_length=1,
        description="trunk: all but the gates, each slice answered by its data set's expert; masked-EXPERT: "
        "that expert, on masked images of its sets; gate: the gates, by the data set's expert; together: "
        "all; add-EXPERT: an expert more, its column and its sets' heads, on the model of `start`.",
    )
    schedule: ScheduleRecipe
    validate_every: int = Field(0, ge=0, description="Steps between validations; 0 keeps the last weights.")
    weights: dict[str, float] | None = Field(
        None, description="How often each data set is drawn in this phase; as `drawing` says if left out."
    )
    domain: float = Field(
        0.1, ge=0, description="Weight of the gates' cross-entropy with the data set's expert, in `together`."
    )


class M4oERecipe(Settings):
    """An automatic model, phase by phase. Paths are relative to where you stand."""

    system: Literal["m4oe"] = Field(description="The paper.")
    run: Path = Field(description="Folder for log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of initial weights and of the stream of samples.")
    card: Words = Field(description="What the model's card says beside what the training writes.")
    start: str | None = Field(
        None, description="A finished automatic model to add an expert to: its id, card or folder."
    )
    architecture: HostSizes
    mixture: ExpertMixture
    sets: tuple[DataSet, ...] = Field(min_length=1, description="One a head, in the order of heads.")
    data: SliceData
    drawing: Drawing = Drawing()
    phases: tuple[PhaseRecipe, ...] = Field(min_length=1, description="In the order in which they run.")
    workers: int = Field(0, ge=0, description="Processes that draw tiles; 0 draws them where it trains.")
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")
    store: Store = Field("float16", description="How the result's numbers are stored.")

    @model_validator(mode="after")
    def _fits(self) -> "M4oERecipe":
        check_agreement(self.architecture, self.mixture, self.sets)  # else hours end without a card
        ids = [each.id for each in self.sets]
        if sorted(ids) != sorted(self.data.sets):
            raise ValueError(
                f"data.sets names {', '.join(sorted(self.data.sets))}; expected the sets "
                f"{', '.join(sorted(ids))}"
            )
        if self.drawing.tile != self.architecture.image_size:
            raise ValueError(
                f"drawing.tile {self.drawing.tile} must equal architecture.image_size "
                f"{self.architecture.image_size}"
            )
        return self

    @property
    def owners(self) -> tuple[int, ...]:
        """For each set the number of its expert."""
        return tuple(self.mixture.experts.index(each.expert) for each in self.sets)
