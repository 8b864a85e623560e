"""The options of a prompt as a record, and the prompt that was typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam_moe.cli.options import UsageError
from sam_moe.cli.predict.typed_prompts import NUMBERS, Typed, in_order

if TYPE_CHECKING:
    from sam_moe.prompts.prompt import Item, Prompt, Space

_BOX, _LINE = "I0 J0 K0 I1 J1 K1", "I J K I J K …"
_Words = list[str] | None


@dataclass(frozen=True)
class PromptOptions:
    """A prompt as typed, each item one word that `PromptCommand` joined; or a file of prompts."""

    point: Annotated[_Words, typer.Option(metavar="I J K", help="A voxel of the target. Repeatable.")] = None
    negative: Annotated[
        _Words, typer.Option(metavar="I J K", help="A voxel beside the target. Repeatable.")
    ] = None
    box: Annotated[
        _Words,
        typer.Option(
            metavar=_BOX,
            help="A box around the target, from its first voxel to the one after its last. One that is a "
            "voxel thick was drawn on a slice: the target may go on beyond it. Repeatable.",
        ),
    ] = None
    flat_box: Annotated[
        _Words,
        typer.Option(metavar=_BOX, help="A box drawn on one slice, however thick it is. Repeatable."),
    ] = None
    stroke: Annotated[
        _Words, typer.Option(metavar=_LINE, help="A scribble along the target. Repeatable.")
    ] = None
    negative_stroke: Annotated[
        _Words, typer.Option(metavar=_LINE, help="A scribble beside the target. Repeatable.")
    ] = None
    loop: Annotated[
        _Words, typer.Option(metavar=_LINE, help="A lasso around the target on one slice. Repeatable.")
    ] = None
    negative_loop: Annotated[
        _Words, typer.Option(metavar=_LINE, help="A lasso around other tissue. Repeatable.")
    ] = None
    mm: Annotated[
        bool, typer.Option("--mm", help="Numbers are RAS+ millimetres, not voxel indices of the stored axes.")
    ] = False
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Prompts of one or several targets, from a prompt set or a .run.json."
        ),
    ] = None

    def typed(self) -> "Prompt | None":
        """The prompt that was typed; None where a file is given instead.

        Raises:
            UsageError: for both, for neither, and for items that are none, such as an inverted box.
        """
        items = in_order(
            {
                option: getattr(self, option.replace("-", "_"))
                for option in (name.removeprefix("--") for name in NUMBERS)
            }
        )
        if bool(items) == (self.prompts is not None):
            wrong = "both --prompts and points or boxes" if items else "no prompt"
            raise UsageError(
                f"{wrong}. Show the target with --point I J K or --box I0 J0 K0 I1 J1 K1, or give "
                "--prompts FILE"
            )
        return prompt_of(items, self.mm) if items else None


def prompt_of(typed: Sequence[Typed], mm: bool) -> "Prompt":
    """The prompt that was typed.

    Raises:
        UsageError: for items that are none, such as an inverted box.
    """
    from sam_moe.errors import PromptError
    from sam_moe.prompts.prompt import Prompt

    try:
        return Prompt(tuple(_item(one, "mm" if mm else "voxel") for one in typed))
    except PromptError as error:
        raise UsageError(str(error)) from error


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
