"""The card of a model that segments without a prompt: its network, its data sets, what it learnt of each."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sam_moe.config import Record
from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.moe.names import Pooling, Scores
from sam_moe.registry.parts import FORMAT, Attribution, CardId, MadeBy, Measurement, Weights
from sam_moe.registry.system import SYSTEMS
from sam_moe.variants import checked

_Millimetres = Annotated[float, Field(gt=0)]
HostSizes = Annotated[SwinSizes | ConvSizes, Field(discriminator="host")]
_SLICES = 3  # a slice with the one below and the one above
_MOST_LABELS = 255  # a label map is of bytes, and 0 is the background


class Window(Record):
    """Numbers between `low` and `high` become 0 to 1, others the nearer end: for CT, in HU."""

    kind: Literal["window"] = Field("window", description="How numbers are made comparable.")
    low: float = Field(description="What becomes 0.")
    high: float = Field(description="What becomes 1.")

    @model_validator(mode="after")
    def _ordered(self) -> "Window":
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be less than high {self.high}")
        return self


class AboveMean(Record):
    """Less the mean and through the deviation of the voxels above the scan's mean: for MR."""

    kind: Literal["mean"] = Field("mean", description="How numbers are made comparable.")


# What a promptable model does with an automatic mask: leaves it, or answers its box.
Refine = Literal["none", "box"]
Intensity = Annotated[Window | AboveMean, Field(discriminator="kind")]


class Label(Record):
    """A structure that a data set's head answers."""

    name: str = Field(min_length=1, description="The structure.")
    parts: Literal["all", "largest"] = Field(
        "all", description="Whether all connected parts of its answer are kept, or the largest one."
    )
    refine: Refine = Field(
        "none",
        description="Whether a promptable model answers the box of the automatic mask better than the mask "
        "is; decided on validation cases.",
    )


class DataSet(Record):
    """What scans of one kind are like, how they are prepared, and what is found in them.

    A head's classes are the background, then `labels` in their order.
    """

    id: CardId = Field(description="Name of the data set.")
    title: str = Field(min_length=1, description="What its scans show, as in 'CT of head and neck'.")
    modality: str = Field(min_length=1, description="CT, MR T1, …; sets of one modality may share an expert.")
    expert: CardId = Field(description="The expert that learnt from it.")
    spacing_mm: tuple[_Millimetres, _Millimetres, _Millimetres] = Field(
        description="Distance of pixels to the right and to the front, and of slices, in millimetres."
    )
    intensity: Intensity
    labels: tuple[Label, ...] = Field(
        min_length=1, max_length=_MOST_LABELS, description="What its head answers, in order."
    )
    far: float | None = Field(
        None,
        gt=0,
        description="Distance of a scan's gate profile beyond which it is unlike the set; 5 % of the set's "
        "own scans lie beyond.",
    )

    @model_validator(mode="after")
    def _named_apart(self) -> "DataSet":
        if twice := _repeated(label.name.casefold() for label in self.labels):
            raise ValueError(f"labels names {', '.join(twice)} more than once; each class has its own name")
        return self


class ExpertMixture(Record):
    """How the experts of every place are weighed."""

    experts: tuple[CardId, ...] = Field(
        min_length=1, description="Experts in the order of the gates' columns."
    )
    scores: Scores = Field(
        "expert",
        description="expert: softmax over experts; channel: the public code's softmax over channels; forced: "
        "the data set's own expert; uniform: all alike.",
    )
    pooling: Pooling = Field("slice", description="Whether every token, slice or scan is routed by itself.")
    ungated: int = Field(
        1, ge=0, description="How many of the first places have one feed-forward part for all, and no gate."
    )

    @model_validator(mode="after")
    def _named_apart(self) -> "ExpertMixture":
        if twice := _repeated(self.experts):
            raise ValueError(f"experts names {', '.join(twice)} more than once; each has its own column")
        return self


class AutomaticCard(Record):
    """A model that labels a scan's structures without a prompt."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    id: CardId = Field(description="Name of the card and of its folder.")
    system: Annotated[
        str,
        Field(description="The paper that the card belongs to."),
        AfterValidator(lambda name: checked(SYSTEMS, name)),
    ] = "m4oe"
    kind: Literal["automatic"] = Field("automatic", description="What the card describes.")
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it is good at.")
    architecture: HostSizes = Field(description="The network.")
    mixture: ExpertMixture
    sets: tuple[DataSet, ...] = Field(min_length=1, description="One a head, in the order of heads.")
    weights: Weights = Field(description="The file beside the card.")
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' licence.")
    attribution: tuple[Attribution, ...] = Field((), description="Sources to credit.")
    made_by: MadeBy | None = Field(None, description="How to make the weights again.")
    measured: tuple[Measurement, ...] = Field((), description="What is known of its quality.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")

    @model_validator(mode="after")
    def _agrees(self) -> "AutomaticCard":
        check_agreement(self.architecture, self.mixture, self.sets)
        return self


def check_agreement(architecture: HostSizes, mixture: ExpertMixture, sets: tuple[DataSet, ...]) -> None:
    """See that a network, its experts and its data sets fit: of a card, and of the recipe that ends in one.

    Raises:
        ValueError: naming the field and what was expected.
    """
    if architecture.in_channels != _SLICES:
        raise ValueError(
            f"architecture.in_channels {architecture.in_channels} must be {_SLICES}: a slice, the "
            "one below and the one above"
        )
    if twice := _repeated(each.id for each in sets):
        raise ValueError(f"sets names {', '.join(twice)} more than once; each head has its own set")
    classes = tuple(1 + len(each.labels) for each in sets)
    if classes != architecture.classes:
        raise ValueError(
            f"architecture.classes {architecture.classes} must be, for each set, the background and "
            f"its labels: {classes}"
        )
    for each in sets:
        if each.expert not in mixture.experts:
            raise ValueError(
                f"set {each.id!r} names the expert {each.expert!r}, which is not among "
                f"{', '.join(mixture.experts)}"
            )


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
