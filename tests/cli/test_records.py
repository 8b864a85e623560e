"""A verb that takes records has their fields as options, in the order that its help lists."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from sam_moe.cli.records import takes_records


@dataclass(frozen=True)
class Size:
    """A record of options with defaults."""

    rows: Annotated[int, typer.Option(min=1, help="How many.")] = 1
    names: Annotated[list[str] | None, typer.Option("--name")] = None


@dataclass(frozen=True)
class Place:
    """A record with a field that must be given."""

    at: Annotated[str, typer.Option()]


def ran(*words, order=""):
    """What a verb with two records gets from these words."""
    got = []
    app = typer.Typer(add_completion=False)

    @app.command()
    @takes_records(order)
    def verb(
        scan: Annotated[str, typer.Argument()],
        size: Size,
        place: Place,
        force: Annotated[bool, typer.Option("--force")] = False,
    ) -> None:
        """Do something."""
        got.extend([scan, size, place, force])

    command = typer.main.get_command(app)
    command.main(list(words), standalone_mode=False)
    return got, [parameter.name for parameter in command.params]


def test_fields_are_given_as_options_and_come_back_as_records():
    words = ("scan.nii", "--at", "left", "--rows", "3", "--name", "a", "--name", "b", "--force")
    assert ran(*words)[0] == ["scan.nii", Size(3, ["a", "b"]), Place("left"), True]
    assert ran("scan.nii", "--at", "left")[0] == ["scan.nii", Size(), Place("left"), False]


def test_a_field_without_a_default_must_be_given_and_bounds_hold():
    with pytest.raises(typer.BadParameter, match="at"):
        ran("scan.nii")
    with pytest.raises(typer.BadParameter, match="greater than or equal to 1|not in the range"):
        ran("scan.nii", "--at", "left", "--rows", "0")


def test_options_are_listed_as_the_parameters_stand_or_by_the_order_that_is_named():
    assert ran("x", "--at", "y")[1] == ["scan", "rows", "names", "at", "force"]
    assert ran("x", "--at", "y", order="scan at force names rows")[1] == [
        "scan",
        "at",
        "force",
        "names",
        "rows",
    ]


@pytest.mark.parametrize("order", ["scan at", "scan at force names rows more"])
def test_an_order_names_each_option_once(order):
    with pytest.raises(AssertionError, match="are not its options"):
        ran("x", "--at", "y", order=order)


def test_two_options_of_one_name_are_a_mistake_of_ours():
    def verb(size: Size, again: Size) -> None:
        """Take one record twice."""

    with pytest.raises(AssertionError, match="two options have one name"):
        takes_records()(verb)
