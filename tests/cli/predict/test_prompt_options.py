"""Typed options become the prompt they show."""

from pathlib import Path

import pytest

from sam_moe.cli.options import UsageError
from sam_moe.cli.predict.prompt_options import PromptOptions, in_options, prompt_of
from sam_moe.cli.predict.typed_prompts import NUMBERS, Typed
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke

CORNERS = (0.0, 0.0, 4.0, 9.0, 0.0, 4.0, 9.0, 9.0, 4.0)
POINTS = ((0, 0, 4), (9, 0, 4), (9, 9, 4))


def test_every_option_becomes_its_item_in_the_order_of_typing():
    typed = [
        Typed(0, "--negative", (1, 2, 3)),
        Typed(1, "--loop", CORNERS),
        Typed(2, "--negative-loop", CORNERS),
        Typed(3, "--stroke", CORNERS),
        Typed(4, "--negative-stroke", CORNERS[:3]),
        Typed(5, "--box", (1, 2, 3, 4, 5, 6)),
        Typed(6, "--flat-box", (1, 2, 3, 4, 5, 6)),
        Typed(7, "--point", (7, 8, 9)),
    ]
    for mm, space in ((False, "voxel"), (True, "mm")):
        assert prompt_of(typed, mm) == Prompt(
            (
                Point((1, 2, 3), False, space),
                Loop(POINTS, True, space),
                Loop(POINTS, False, space),
                Stroke(POINTS, True, space),
                Stroke(POINTS[:1], False, space),
                Box((1, 2, 3), (4, 5, 6), space),
                Box((1, 2, 3), (4, 5, 6), space, flat=True),
                Point((7, 8, 9), True, space),
            )
        )


def test_what_is_no_item_is_a_wrong_command_line():
    with pytest.raises(UsageError, match="inverted along axis 0"):
        prompt_of([Typed(0, "--box", (4, 2, 3, 1, 5, 6))], False)
    with pytest.raises(UsageError, match="encloses nothing"):
        prompt_of([Typed(0, "--loop", (0, 0, 0, 1, 1, 1, 2, 2, 2))], False)


def test_advice_is_given_in_the_words_of_the_command_line():
    assert in_options("for millimetres, say space='mm'.") == "for millimetres, add --mm."


def test_a_prompt_is_typed_or_lies_in_a_file():
    assert PromptOptions(negative=["1:1 2 3"], point=["0:7 8 9"]).typed() == Prompt(
        (Point((7, 8, 9)), Point((1, 2, 3), False))
    )
    assert PromptOptions(prompts=Path("prompts.json")).typed() is None


def test_a_prompt_twice_and_none_at_all_are_wrong():
    with pytest.raises(UsageError, match="both --prompts and points or boxes"):
        PromptOptions(point=["0:7 8 9"], prompts=Path("prompts.json")).typed()
    with pytest.raises(UsageError, match="no prompt. Show the target with --point"):
        PromptOptions().typed()


@pytest.mark.parametrize("option", NUMBERS)
def test_every_option_that_is_parsed_as_numbers_is_an_option_of_the_record(option):
    numbers = "1 1 1 2 2 2" if "box" in option else "1 1 4 9 1 4 9 9 4" if "loop" in option else "1 2 3"
    record = PromptOptions(**{option.removeprefix("--").replace("-", "_"): [f"0:{numbers}"]})
    assert len(record.typed()) == 1
