"""Prompt options as typed: their order, their signs, and the answers to mistakes."""

from typing import Annotated

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.cli.options import UsageError
from sam_moe.cli.predict.typed_prompts import PromptCommand, Typed, in_order


def typed(*words):
    """What a verb with the three options gets from these words, and its other argument."""
    got = []
    app = typer.Typer(add_completion=False)

    words_of = Annotated[list[str] | None, typer.Option()]

    @app.command(cls=PromptCommand)
    def verb(
        scan: Annotated[str, typer.Argument()] = "none",
        point: words_of = None,
        negative: words_of = None,
        box: words_of = None,
        stroke: words_of = None,
        negative_loop: words_of = None,
        mm: Annotated[bool, typer.Option("--mm")] = False,
    ) -> None:
        given = {"point": point, "negative": negative, "box": box}
        given |= {"stroke": stroke, "negative-loop": negative_loop}
        got.extend([in_order(given), scan, mm])

    typer.main.get_command(app).main(list(words), standalone_mode=False)
    return got


def test_the_order_over_all_options_is_the_order_of_typing():
    words = "--negative 1 2 3 --box 1 2 3 4 5 6 scan.nii --point 7 8 9 --negative 0 0 0"
    assert typed(*words.split()) == [
        [
            Typed(0, "--negative", (1, 2, 3)),
            Typed(1, "--box", (1, 2, 3, 4, 5, 6)),
            Typed(2, "--point", (7, 8, 9)),
            Typed(3, "--negative", (0, 0, 0)),
        ],
        "scan.nii",
        False,
    ]


def test_a_minus_sign_makes_a_number_not_an_option():
    assert typed("--mm", "--point", "-12.5", "-3e1", "+.5")[0] == [Typed(0, "--point", (-12.5, -30, 0.5))]


def test_an_equals_sign_before_the_first_number_is_understood():
    assert typed("--point=-1", "2", "3")[0] == [Typed(0, "--point", (-1, 2, 3))]


def test_a_scan_may_have_a_number_for_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "007").mkdir()
    assert typed("--point", "1", "2", "3", "007")[:2] == [[Typed(0, "--point", (1, 2, 3))], "007"]


def test_after_two_dashes_nothing_is_an_option():
    assert typed("--", "--point") == [[], "--point", False]


def test_a_stroke_and_a_loop_take_as_many_points_as_are_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "007").mkdir()
    words = "--negative-loop 0 0 4 9 0 4 9 -9 4 --point 1 2 3 --stroke 1 2 3 4 5 6 007 --mm"
    assert typed(*words.split()) == [
        [
            Typed(0, "--negative-loop", (0, 0, 4, 9, 0, 4, 9, -9, 4)),
            Typed(1, "--point", (1, 2, 3)),
            Typed(2, "--stroke", (1, 2, 3, 4, 5, 6)),
        ],
        "007",
        True,
    ]
    assert typed("--stroke", "1", "2", "3", "scan.nii")[0] == [Typed(0, "--stroke", (1, 2, 3))]
    assert typed("--stroke=1", "2", "3")[0] == [Typed(0, "--stroke", (1, 2, 3))]


items = st.tuples(
    st.sampled_from(["--point", "--negative", "--box"]),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6),
)


@given(st.lists(items, max_size=8))
def test_whatever_is_typed_comes_back_in_order_and_to_the_last_digit(asked):
    wanted = [(option, numbers if option == "--box" else numbers[:3]) for option, numbers in asked]
    words = [word for option, numbers in wanted for word in (option, *map(repr, numbers))]
    found = typed(*words)[0]
    assert [(item.option, list(item.numbers)) for item in found] == wanted


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--point", "40,52,17"], "with spaces between. Write: --point 40 52 17"),
        (["--point=(40,52,17)"], "with spaces between. Write: --point 40 52 17"),
        (["--point", "40,", "52,", "-17"], "Write: --point 40 52 -17"),
        (["--point", "40 52 17", "--mm"], "Write: --point 40 52 17"),
        (["--box", "[1,2,3]", "[4,5,6]"], "I0 J0 K0 I1 J1 K1, with spaces between. Write: --box 1 2 3 4 5 6"),
        (["--point", "1", "2", "--mm"], "takes three numbers, I J K, and there are 2 of them: 1 2."),
        (["--point", "1"], "and there is 1 of them: 1."),
        (["--box"], "takes six numbers, I0 J0 K0 I1 J1 K1, and there is none."),
        (["--point", "1", "2", "3", "4"], "there are 4: 1 2 3 4. For several, repeat --point before each."),
        (["--point", "1", "two", "3"], "'two' is no finite number"),
        (["--point", "1", "nan", "3"], "'nan' is no finite number"),
        (["--negative", "1", "2", "1e999"], "'1e999' is no finite number"),
        (["--stroke", "1", "2"], "at least one point, and there are 2: 1 2."),
        (["--stroke"], "at least one point, and there are 0: none."),
        (["--stroke", "1", "2", "3", "4"], "three numbers for each point, I J K I J K …, and at least one"),
        (["--stroke", "1,2,3", "4,5,6"], "with spaces between. Write: --stroke 1 2 3 4 5 6"),
        (["--stroke", "1", "2", "3", "(4,5,6)"], "with spaces between. Write: --stroke 1 2 3 4 5 6"),
        (["--negative-loop", *"123456"], "at least three points, and there are 6: 1 2 3 4 5 6."),
    ],
)
def test_a_mistake_is_answered_with_how_to_write_it(words, complaint):
    with pytest.raises(UsageError) as caught:
        typed(*words)
    assert complaint in caught.value.format_message()
    assert caught.value.exit_code == 2
