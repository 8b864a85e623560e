"""The recipe of a general model: what `sam-moe pretrain` reads."""

from pydantic import Field, model_validator

from sam_moe.registry import Architecture, Preprocessing
from sam_moe.systems.sam_med3d_moe.prompted import DEPTHS
from sam_moe.training.engine.precision import Precision
from sam_moe.training.recipes.settings import CardRecipe, LabelledScans, Store, TrainingRecipe


class DataRecipe(LabelledScans):
    """What is learnt from."""

    leave_out: tuple[str, ...] = Field((), description="Structures never to learn, by name or 'set/name'.")
    phantom_share: float = Field(0.1, ge=0, le=1, description="Share of procedural phantoms in the stream.")
    curriculum: int = Field(0, ge=0, description="Samples at the start of which half are phantoms.")


class PretrainRecipe(TrainingRecipe):
    """A general model, from nothing or going on from one. Paths are relative to where you stand."""

    seed: int = Field(0, description="Of initial weights and of the stream of samples.")
    card: CardRecipe = Field(description="What the model's card says beside what the training writes.")
    start: str | None = Field(
        None, description="A general model to go on from, all of it: its id, card or folder."
    )
    architecture: Architecture | None = Field(None, description="Left out where `start` has one.")
    preprocessing: Preprocessing | None = Field(None, description="Of `start` where it is left out.")
    data: DataRecipe
    targets: int = Field(2, gt=0, description="Structures asked for in each region, encoded once for all.")
    corrections: tuple[float, ...] = Field(
        DEPTHS, min_length=1, description="How likely an answer is followed by 0, 1, 2, … correcting clicks."
    )
    validation_crops: int = Field(96, ge=0, description="Regions of the validation part; 0 for none.")
    workers: int = Field(1, ge=0, description="Processes that cut regions.")
    precision: Precision = Field(
        "auto", description="Numbers to compute in; auto is bfloat16 where that is quicker, else float32."
    )
    store: Store = Field("float16", description="How the result's numbers are stored.")

    @model_validator(mode="after")
    def _fits(self) -> "PretrainRecipe":
        if self.architecture is None or self.preprocessing is None:
            if self.start is None:
                missing = "architecture" if self.architecture is None else "preprocessing"
                raise ValueError(f"{missing} is missing; add it, or name a model to go on from by `start`")
            return self
        size = self.architecture.image_size
        if set(self.preprocessing.region_shape) != {size}:
            raise ValueError(
                f"preprocessing.region_voxels {self.preprocessing.region_voxels} must equal "
                f"architecture.image_size {size}"
            )
        if self.card.default_box_strategy == "corners" and not self.architecture.corner_embeddings:
            raise ValueError(
                "card.default_box_strategy 'corners' needs architecture.corner_embeddings; "
                "use 'mask' or 'center'"
            )
        if self.architecture.patch_size % 4:
            raise ValueError(
                f"architecture.patch_size {self.architecture.patch_size} must be a multiple of 4, as answers "
                "have four voxels for each patch"
            )
        return self
