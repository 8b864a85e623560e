"""Steps are named by what was given so far, and from their names follows what must be understood."""

from sam_moe.evaluation.asking.steps import ALL, kinds_of, step_names
from sam_moe.prompts import Box, Loop, Point, Stroke

BOX, FLAT, POINT = Box((0, 0, 0), (9, 9, 9)), Box((0, 0, 4), (9, 9, 5)), Point((0, 0, 0))
STROKE, LOOP = Stroke(((0, 0, 0), (1, 1, 0))), Loop(((0, 0, 0), (9, 0, 0), (9, 9, 0)))


def test_steps_are_named_by_counting():
    assert step_names((POINT, BOX, POINT, BOX)) == ("click1", "box+click1", "box+click2", "box2+click2")
    assert step_names((FLAT, POINT, STROKE, LOOP)) == (
        "flat",
        "flat+click1",
        "flat+click1+stroke1",
        "flat+click1+stroke1+loop1",
    )
    assert step_names((STROKE, STROKE, BOX, FLAT)) == (
        "stroke1",
        "stroke2",
        "box+stroke2",
        "box+flat+stroke2",
    )
    assert step_names((Box((0, 0, 0), (9, 9, 9), flat=True),)) == ("flat",)


def test_kinds_follow_from_the_names():
    assert kinds_of(step_names((BOX, FLAT, POINT, STROKE, LOOP))) == ALL
    assert kinds_of(("click1",)) == {"point"} and kinds_of(("flat", "flat+click1")) == {"flat", "point"}
