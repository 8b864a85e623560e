"""Prompt sets: what was clicked on which scan, in a JSON file that can be checked and replayed.

The format is ours (version 1); `prompts/README.md` explains it on one page and
`prompts/promptset.schema.json` is generated from the records below.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from sam_moe.config import Record, read_json, write_json
from sam_moe.errors import PromptError
from sam_moe.prompts.prompt import Box, Item, Loop, Point, Prompt, Space, Stroke

FORMAT: Literal[1] = 1

Coordinates = tuple[float, float, float]
Milliseconds = Annotated[
    float | None, Field(ge=0, description="Milliseconds since the target was first shown.")
]


class PointItem(Record):
    """A click."""

    kind: Literal["point"] = Field(description="Marks this item as a click.")
    at: Coordinates = Field(description="(i, j, k) of the stored axes, or (x, y, z) in RAS+ millimetres.")
    positive: bool = Field(True, description="True on the target, false beside it.")
    time_ms: Milliseconds = None

    def item(self, space: Space) -> Point:
        """The click as the model takes it."""
        return Point(self.at, self.positive, space)


class BoxItem(Record):
    """A box around the target: half-open [start, stop) in voxels, plain edges in millimetres."""

    kind: Literal["box"] = Field(description="Marks this item as a box.")
    start: Coordinates = Field(description="The corner with the smaller coordinates.")
    stop: Coordinates = Field(description="The corner with the greater; in voxels the first index outside.")
    flat: bool | None = Field(
        None,
        description="Whether it was drawn on one slice and leaves the target's depth open; without it, a box "
        "no thicker than one voxel on some axis was.",
    )
    time_ms: Milliseconds = None

    @model_validator(mode="after")
    def _not_inverted(self) -> "BoxItem":
        return _checked(self)

    def item(self, space: Space) -> Box:
        """The box as the model takes it."""
        return Box(self.start, self.stop, space, self.flat)


class StrokeItem(Record):
    """A scribble: a line through its points in the order they were drawn."""

    kind: Literal["stroke"] = Field(description="Marks this item as a scribble.")
    points: tuple[Coordinates, ...] = Field(
        min_length=1, description="Where the brush went, one after the other."
    )
    positive: bool = Field(True, description="True on the target, false beside it.")
    time_ms: Milliseconds = None

    def item(self, space: Space) -> Stroke:
        """The stroke as the model takes it."""
        return Stroke(self.points, self.positive, space)


class LoopItem(Record):
    """A lasso: a closed curve on one slice or plane, filled."""

    kind: Literal["loop"] = Field(description="Marks this item as a lasso.")
    points: tuple[Coordinates, ...] = Field(
        min_length=3, description="The curve's points in order; the last is joined to the first."
    )
    positive: bool = Field(True, description="True around tissue of the target, false around other tissue.")
    time_ms: Milliseconds = None

    @model_validator(mode="after")
    def _encloses(self) -> "LoopItem":
        return _checked(self)

    def item(self, space: Space) -> Loop:
        """The loop as the model takes it."""
        return Loop(self.points, self.positive, space)


AnyItem = PointItem | BoxItem | StrokeItem | LoopItem
Drawn = TypeVar("Drawn", BoxItem, LoopItem)


def _checked(record: Drawn) -> Drawn:
    """The record itself, if its item can be made; pydantic takes no PromptError for a wrong value."""
    try:
        record.item("voxel")
    except PromptError as error:
        raise ValueError(str(error)) from error
    return record


class PromptTarget(Record):
    """One structure to segment, and its prompt, item by item."""

    name: str = Field(min_length=1, description="What the structure is called.")
    label: int = Field(ge=1, le=255, description="Its value in the label map.")
    items: tuple[Annotated[AnyItem, Field(discriminator="kind")], ...] = Field(
        min_length=1,
        description="Clicks, boxes, strokes and loops in the order they were given: click n is item n.",
    )

    @field_validator("items")
    @classmethod
    def _in_order(cls, items: tuple[AnyItem, ...]) -> tuple[AnyItem, ...]:
        times = [item.time_ms for item in items if item.time_ms is not None]
        if times != sorted(times):
            raise ValueError(f"time_ms goes back ({times}); items stand in the order they were given")
        return items


class PromptCase(Record):
    """One image and the targets prompted on it."""

    image: str = Field(min_length=1, description="Path relative to this file, with forward slashes.")
    fingerprint: str | None = Field(None, description="Fingerprint of the volume prompted on.")
    space: Space = Field(description="'voxel' indices (i, j, k) or RAS+ 'mm', for all items.")
    targets: tuple[PromptTarget, ...] = Field(min_length=1, description="The structures to segment.")

    @field_validator("image")
    @classmethod
    def _relative(cls, image: str) -> str:
        if PurePosixPath(image).is_absolute() or PureWindowsPath(image).anchor or "\\" in image:
            raise ValueError(f"'{image}' must be a path relative to the prompt file, with forward slashes")
        return image

    @field_validator("targets")
    @classmethod
    def _distinct(cls, targets: tuple[PromptTarget, ...]) -> tuple[PromptTarget, ...]:
        named: dict[str, list[str]] = {
            "name": [repr(target.name) for target in targets],
            "label": [str(target.label) for target in targets],
        }
        for what, values in named.items():
            often = Counter(values)
            twice = next((value for value in values if often[value] > 1), None)
            if twice is not None:
                raise ValueError(f"two targets of one case share the {what} {twice}; each needs its own")
        return targets

    @classmethod
    def of(
        cls,
        image: str,
        prompts: Mapping[str, Prompt],
        labels: Mapping[str, int] | None = None,
        fingerprint: str | None = None,
    ) -> "PromptCase":
        """A case from prompts by target name; labels count from 1 unless given.

        Raises:
            PromptError: where some items are voxel indices and others millimetres.
        """
        spaces = {item.space for prompt in prompts.values() for item in prompt}
        if len(spaces) != 1:
            raise PromptError(
                f"the prompts for {image} use {' and '.join(sorted(spaces)) or 'no items at all'}; a case "
                "has at least one item and one space. Bring them together with prompt.in_mm(affine)."
            )
        targets = tuple(
            PromptTarget(
                name=name,
                label=labels[name] if labels else number,
                items=tuple(_recorded(item) for item in prompt),
            )
            for number, (name, prompt) in enumerate(prompts.items(), start=1)
        )
        return cls(image=image, fingerprint=fingerprint, space=spaces.pop(), targets=targets)

    def prompt(self, target: str | PromptTarget) -> Prompt:
        """The prompt of one target."""
        return Prompt(tuple(item.item(self.space) for item in self._target(target).items))

    def replay(self, target: str | PromptTarget) -> Iterator[Prompt]:
        """The prompt after its first item, after its second, and so on to the last."""
        whole = self.prompt(target)
        return (whole.upto(n) for n in range(1, len(whole) + 1))

    def _target(self, target: str | PromptTarget) -> PromptTarget:
        if isinstance(target, PromptTarget):
            return target
        for known in self.targets:
            if known.name == target:
                return known
        names = ", ".join(known.name for known in self.targets)
        raise PromptError(f"{self.image} has no target {target!r}; it has: {names}.")


class PromptSet(Record):
    """Prompts on any number of images, replayable click by click."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    name: str = Field(min_length=1, description="What the set is called.")
    description: str = Field("", description="How the prompts were made, and by what (seeds included).")
    cases: tuple[PromptCase, ...] = Field(min_length=1, description="One entry an image.")


def read(path: Path | str) -> PromptSet:
    """Read and check a prompt set.

    Raises:
        PromptError: naming the file, the field and, for an unknown key, the nearest known one.
    """
    return read_json(PromptSet, path, PromptError)


def write(prompts: PromptSet, path: Path | str) -> None:
    """Write a prompt set in one step; `read` gives it back equal."""
    write_json(prompts, path)


def json_schema() -> dict[str, Any]:
    """The JSON schema of the format, for editors and for other programs."""
    schema = PromptSet.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _recorded(item: Item) -> AnyItem:
    if isinstance(item, Point):
        return PointItem(kind="point", at=item.at, positive=item.positive)
    if isinstance(item, Box):
        return BoxItem(kind="box", start=item.start, stop=item.stop, flat=item.flat)
    if isinstance(item, Stroke):
        return StrokeItem(kind="stroke", points=item.points, positive=item.positive)
    return LoopItem(kind="loop", points=item.points, positive=item.positive)
