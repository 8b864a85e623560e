"""One picture of structures by experts: for files as PNG, for reports as SVG."""

import io

import numpy as np
from matplotlib.image import imread

from sam_moe.evaluation.routing.picture import FULL, INK, as_png, as_svg, draw
from sam_moe.evaluation.routing.shares import count
from tests.evaluation.rows import words_of


def shares(structures=2, experts=3):
    ids = [f"expert {n}" for n in range(experts)]
    return count(
        (f"structure {n}", {ids[n % experts]: 1.0}, dict.fromkeys(ids, 0.25)) for n in range(structures)
    )


def pixels(found):
    return imread(io.BytesIO(as_png(draw(found))))[..., :3]


def full_cells(found):
    """How much of the picture is a full cell."""
    full = np.array([int(FULL[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return float((np.abs(pixels(found) - full).max(axis=-1) < 0.02).mean())


def test_a_structure_that_one_expert_answers_is_one_full_cell():
    assert 0 < full_cells(shares(2, 3)) < full_cells(shares(2, 1))


def test_it_grows_with_what_it_shows():
    small, large = (pixels(shares(*size)).shape for size in ((2, 3), (12, 6)))
    assert large[0] > small[0] and large[1] > small[1]


def test_a_report_shows_the_same_figures_as_text_in_its_own_colours():
    found = count([("spine", {"cord": 1.0}, {"general": 0.2, "cord": 0.8})])
    made = as_svg(draw(found), "Experts by structure", {INK: "var(--ink)", FULL: "var(--c0)"})
    assert words_of(made) == ["spine (1)", "0.20", "100%", "0.80", "general", "cord"]
    styles = [one.get("style", "") for one in made.iter()]
    assert not any(colour in style for style in styles for colour in (INK, FULL))
    assert any("var(--c0)" in style for style in styles) and any("var(--ink)" in style for style in styles)
    assert made.get("aria-label") == "Experts by structure"
    assert {one.tag for one in made.iter()} <= {"svg", "g", "path", "text"}


def test_names_of_anything_are_text_and_no_formulas():
    found = count([("$x^2$ <b>\x01", {"&": 1.0}, {"&": 1.0})])
    assert words_of(as_svg(draw(found), "", {}))[0] == r"$x^2$ <b>\x01 (1)"
    assert as_png(draw(found)).startswith(b"\x89PNG")


def test_the_same_shares_are_the_same_bytes():
    assert as_png(draw(shares())) == as_png(draw(shares()))
