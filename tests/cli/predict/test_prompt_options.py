"""Typed options become the prompt they show."""

import pytest

from sam_moe.cli.predict.prompt_options import in_options, lowering_of, prompt_of
from sam_moe.cli.predict.typed_prompts import AskedWrongly, Typed
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke
from sam_moe.prompts.lowering import Lowering

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


def test_what_is_no_item_is_asked_wrongly():
    with pytest.raises(AskedWrongly, match="inverted along axis 0"):
        prompt_of([Typed(0, "--box", (4, 2, 3, 1, 5, 6))], False)
    with pytest.raises(AskedWrongly, match="encloses nothing"):
        prompt_of([Typed(0, "--loop", (0, 0, 0, 1, 1, 1, 2, 2, 2))], False)


def test_rules_are_chosen_by_name_and_an_unknown_one_is_answered_with_the_known():
    assert lowering_of(["flat_box=deep", "stroke=five"]) == Lowering(flat_box="deep", stroke="five")
    assert lowering_of([]) == Lowering()
    with pytest.raises(AskedWrongly, match="--lower flat_box=midle: flat_box: .*'middle'"):
        lowering_of(["flat_box=midle"])
    with pytest.raises(AskedWrongly, match="flat_box"):
        lowering_of(["flatbox=middle"])


def test_advice_is_given_in_the_words_of_the_command_line():
    assert in_options("for millimetres, say space='mm'.") == "for millimetres, add --mm."
