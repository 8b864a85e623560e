"""The options of a prompt, and what was typed for them as a prompt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sam_moe.cli.predict.typed_prompts import AskedWrongly, Typed

if TYPE_CHECKING:
    from sam_moe.prompts.lowering import Lowering
    from sam_moe.prompts.prompt import Item, Prompt, Space

_BOX, _LINE = "I0 J0 K0 I1 J1 K1", "I J K I J K …"

Points = Annotated[list[str] | None, typer.Option(metavar="I J K", help="A voxel of the target. Repeatable.")]
NegativePoints = Annotated[
    list[str] | None, typer.Option(metavar="I J K", help="A voxel beside the target. Repeatable.")
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar=_BOX,
        help="A box around the target, from its first voxel to the one after its last. One that is a voxel "
        "thick was drawn on a slice: the target may go on beyond it. Repeatable.",
    ),
]
FlatBoxes = Annotated[
    list[str] | None,
    typer.Option(metavar=_BOX, help="A box drawn on one slice, however thick it is. Repeatable."),
]
Strokes = Annotated[
    list[str] | None, typer.Option(metavar=_LINE, help="A scribble along the target. Repeatable.")
]
NegativeStrokes = Annotated[
    list[str] | None, typer.Option(metavar=_LINE, help="A scribble beside the target. Repeatable.")
]
Loops = Annotated[
    list[str] | None,
    typer.Option(metavar=_LINE, help="A lasso around the target on one slice. Repeatable."),
]
NegativeLoops = Annotated[
    list[str] | None, typer.Option(metavar=_LINE, help="A lasso around other tissue. Repeatable.")
]
Lower = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND=RULE",
        help="How what is drawn on one slice reaches the model, by the kinds flat_box, stroke and loop; an "
        "unknown rule is answered with the known ones. Repeatable.",
    ),
]


def prompt_of(typed: Sequence[Typed], mm: bool) -> "Prompt":
    """The prompt that was typed.

    Raises:
        AskedWrongly: for items that are none, such as an inverted box.
    """
    from sam_moe.errors import PromptError
    from sam_moe.prompts.prompt import Prompt

    try:
        return Prompt(tuple(_item(one, "mm" if mm else "voxel") for one in typed))
    except PromptError as error:
        raise AskedWrongly(str(error)) from error


def lowering_of(given: Sequence[str]) -> "Lowering":
    """The rules of `--lower KIND=RULE`, the default ones where none is given.

    Raises:
        AskedWrongly: for an unknown kind or rule, the known ones listed.
    """
    from sam_moe.config import load_settings
    from sam_moe.errors import ConfigError
    from sam_moe.prompts.lowering import Lowering

    try:
        return load_settings(Lowering, None, given)
    except ConfigError as error:
        raise AskedWrongly(str(error).replace("--set", "--lower")) from error


def in_options(text: str) -> str:
    """What the library advises, in the words of the command line."""
    return text.replace("say space='mm'", "add --mm").replace("say space='voxel'", "leave out --mm")


def _item(typed: Typed, space: "Space") -> "Item":
    from sam_moe.prompts.prompt import Box, Loop, Point, Stroke

    numbers = typed.numbers
    positive, kind = not typed.option.startswith("--negative"), typed.option.rpartition("-")[2]
    if kind == "box":
        return Box(_three(numbers[:3]), _three(numbers[3:]), space, True if "flat" in typed.option else None)
    points = tuple(_three(numbers[at : at + 3]) for at in range(0, len(numbers), 3))
    if kind in ("stroke", "loop"):
        return (Stroke if kind == "stroke" else Loop)(points, positive, space)
    return Point(points[0], positive, space)


def _three(numbers: Sequence[float]) -> tuple[float, float, float]:
    return numbers[0], numbers[1], numbers[2]
