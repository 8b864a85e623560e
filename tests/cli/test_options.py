"""What verbs share: records that change nothing by default, a group that lists, an error that ends with 2."""

import pytest
import typer

from sam_moe.cli.options import Computing, ListedByDefault, UsageError, Writing


def test_by_default_nothing_is_replaced_and_the_card_decides_how_a_box_reaches_the_model():
    assert Writing() == Writing(force=False, as_json=False)
    assert Computing() == Computing("auto", None, None, "float32")


def test_a_wrong_command_line_says_no_more_than_its_message():
    error = UsageError("expected one scan")
    assert (error.format_message(), error.exit_code) == ("expected one scan", 2)
    assert isinstance(error, typer.BadParameter)


@pytest.mark.parametrize(("words", "verb"), [([], "list"), (["list"], "list"), (["show"], "show")])
def test_a_group_without_a_verb_lists(words, verb):
    app, ran = typer.Typer(cls=ListedByDefault, add_completion=False), []
    app.command("list")(lambda: ran.append("list"))
    app.command("show")(lambda: ran.append("show"))
    typer.main.get_command(app).main(words, standalone_mode=False)
    assert ran == [verb]
