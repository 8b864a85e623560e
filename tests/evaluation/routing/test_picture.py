"""The picture of who answered what."""

import numpy as np
import pytest
from matplotlib.image import imread

from sam_moe.errors import FileError
from sam_moe.evaluation.routing.picture import draw
from sam_moe.evaluation.routing.routes import Route, Routes


def routes(structures=2, experts=3):
    ids = tuple(f"expert {n}" for n in range(experts))
    found = tuple(Route("a", f"structure {n}", "click", {ids[n % experts]: 1.0}) for n in range(structures))
    return Routes("m", ids, found)


def dark_cells(path):
    """How much of the picture is the darkest blue of the map."""
    picture = imread(path)[..., :3]
    return float((np.abs(picture - (8 / 255, 48 / 255, 107 / 255)).max(axis=-1) < 0.02).mean())


def test_a_structure_that_one_expert_answers_is_one_dark_cell(tmp_path):
    draw(routes(2, 3), tmp_path / "two.png")
    draw(routes(2, 1), tmp_path / "all.png")
    assert 0 < dark_cells(tmp_path / "two.png") < dark_cells(tmp_path / "all.png")


def test_it_grows_with_what_it_shows(tmp_path):
    draw(routes(2, 3), tmp_path / "small.png")
    draw(routes(12, 6), tmp_path / "large.png")
    small, large = (imread(tmp_path / f"{name}.png").shape for name in ("small", "large"))
    assert large[0] > small[0] and large[1] > small[1]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileError, match=r"none.x\.png: no such folder"):
        draw(routes(), tmp_path / "none" / "x.png")
