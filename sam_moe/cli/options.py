"""Options that several verbs share, each written once; and the error of a wrong command line."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

EVERYWHERE = "With --debug, an error shows its traceback. Exit codes: 0 done, 1 failed, 2 asked wrongly."

COMMAND_LINE: ContextVar[tuple[str, ...]] = ContextVar("COMMAND_LINE", default=())

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout, for machines.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files of these names, even those that sam-moe did not write.")
]
ModelId = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Id, card or folder of a model; see sam-moe checkpoints. Else the small one that ships.",
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a setting. Repeatable.")
]


@dataclass(frozen=True)
class Writing:
    """How results are written: over existing files or not, for a person or a machine."""

    force: Force = False
    as_json: AsJson = False


@dataclass(frozen=True)
class Computing:
    """Where a model computes, in which precision, and how it lowers what a prompt draws."""

    device: Device = "auto"
    box_strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="How a box reaches the model: center, mask or corners.")
    ] = None
    lower: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=RULE",
            help="How what is drawn on one slice reaches the model, by the kinds flat_box, stroke and loop; "
            "an unknown rule is answered with the known ones. Repeatable.",
        ),
    ] = None
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of the encoder: float32, or bfloat16, quicker only where the machine has units for it.",
        ),
    ] = "float32"


class UsageError(typer.BadParameter):
    """A command line that cannot be followed; ends with exit code 2."""

    def format_message(self) -> str:
        """The message, without the words that typer puts before it."""
        return self.message


class ListedByDefault(TyperGroup):
    """A group of verbs that lists what it is about when none of them is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take nothing for `list`."""
        return super().parse_args(ctx, args or ["list"])
