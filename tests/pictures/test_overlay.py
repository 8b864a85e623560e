"""The picture as it is written: its pixels, not our words about it."""

import matplotlib.image
import numpy as np
import pytest
import torch

from sam_moe.errors import FileError
from sam_moe.pictures.overlay import _legend, drawn, overlay
from sam_moe.pictures.scene import Scene, middle_of, turned
from sam_moe.prompts.prompt import Box, Loop, Point, Prompt, Stroke
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

COLOURS = {
    "outline": (0x56, 0xB4, 0xE9),
    "positive": (0x33, 0xFF, 0x66),
    "negative": (0xFF, 0x40, 0x40),
    "box": (0xFF, 0xE1, 0x19),
}


def pixels_of(path, colour):
    """Rows and columns, in the three panels, of pixels of nearly this colour."""
    picture = matplotlib.image.imread(path)[:, :, :3] * 255
    near = np.abs(picture - COLOURS[colour]).max(axis=2) < 40
    near[:46] = near[490:] = False  # title and legend
    return np.argwhere(near)


@pytest.fixture
def volume():
    """Dark, 100 mm a side, in slices of 5 mm, with a bright cube in the patient's right front top."""
    array = torch.full((100, 100, 20), 10.0)
    array[0, 0, 0] = 0.0
    array[60:80, 70:90, 14:18] = 100.0
    return Volume(array, Grid.around((0, 0, 0), (100, 100, 20), (1, 1, 5)))


@pytest.fixture
def mask(volume):
    return (volume.array > 50).to(torch.uint8)


def test_right_is_on_the_left_front_and_top_are_up(volume, mask, tmp_path):
    overlay(tmp_path / "p.png", [Scene(volume, {"answer": mask}, Prompt((Point((70, 80, 16)),)), "title")])
    places = pixels_of(tmp_path / "p.png", "outline")
    # Panels are 450 pixels wide; their middles lie at 225, 675 and 1125, and at 271 from the top.
    for middle, panel in ((225, places[places[:, 1] < 450]), (1125, places[places[:, 1] >= 900])):
        rows, columns = panel.mean(axis=0)
        assert columns < middle  # right in the axial panel, front in the sagittal one
        assert rows < 271
    coronal = places[(places[:, 1] >= 450) & (places[:, 1] < 900)]
    assert coronal[:, 1].mean() < 675
    assert coronal[:, 0].mean() < 271


def test_thick_slices_keep_their_proportions(volume, mask, tmp_path):
    overlay(tmp_path / "p.png", [Scene(volume, {"answer": mask}, Prompt(), "title")])
    places = pixels_of(tmp_path / "p.png", "outline")
    for left in (0, 450, 900):  # 20 voxels of 1 mm, and 4 slices of 5 mm: a cube
        panel = places[(places[:, 1] >= left) & (places[:, 1] < left + 450)]
        height, width = np.ptp(panel, axis=0)
        assert abs(height - width) <= 3
        assert width > 60


def test_the_outline_of_a_probability_runs_between_thick_slices(volume, mask, tmp_path):
    """From 1 to 1/4, one half lies at 2/3 of the way, not at 1/2: 5 mm / 6 further out at top and bottom."""
    heights = []
    for name, answer in (("mask", mask), ("probability", 0.25 + 0.75 * mask)):
        overlay(tmp_path / f"{name}.png", [Scene(volume, {"answer": answer}, Prompt(), "title")])
        places = pixels_of(tmp_path / f"{name}.png", "outline")
        heights.append(np.ptp(places[(places[:, 1] >= 450) & (places[:, 1] < 900)][:, 0]))
    # The scan's 100 mm are as high as the panel, 0.815 of 540 pixels.
    assert heights[1] - heights[0] == pytest.approx(2 * 5 / 6 * 4.4, abs=2)


@pytest.mark.parametrize(
    ("item", "colour"),
    [
        (Point((70, 80, 16)), "positive"),
        (Point((70, 80, 16), positive=False), "negative"),
        (Box((58, 68, 13), (82, 92, 19)), "box"),
        (Box((58, 68, 16), (82, 92, 17)), "box"),
        (Stroke(((62, 80, 16), (78, 82, 16))), "positive"),
        (Stroke(((62, 80, 16), (78, 82, 16)), positive=False), "negative"),
        (Loop(((58, 68, 16), (82, 68, 16), (82, 92, 16), (58, 92, 16))), "positive"),
        (Loop(((58, 68, 16), (82, 68, 16), (82, 92, 16), (58, 92, 16)), positive=False), "negative"),
    ],
)
def test_each_kind_of_prompt_has_its_colour(volume, mask, tmp_path, item, colour):
    overlay(tmp_path / "p.png", [Scene(volume, {"answer": mask}, Prompt((item,)), "title")])
    assert len(pixels_of(tmp_path / "p.png", colour)) > 20
    for other in {"positive", "negative", "box"} - {colour}:
        assert len(pixels_of(tmp_path / "p.png", other)) == 0


def test_a_prompt_in_other_slices_is_faint(volume, mask, tmp_path):
    for name, depth in (("here", 16), ("elsewhere", 3)):
        scene = Scene(volume, {"answer": mask}, Prompt((Point((70, 80, depth)),)), "title")
        overlay(tmp_path / f"{name}.png", [scene])
    here, elsewhere = (pixels_of(tmp_path / f"{name}.png", "positive") for name in ("here", "elsewhere"))
    axial = [places[places[:, 1] < 450] for places in (here, elsewhere)]
    assert len(axial[0]) > 20
    assert len(axial[1]) == 0


def test_the_legend_says_what_faint_means_where_something_is(volume, mask):
    """The target's middle is the voxel (70, 80, 16): a click there lies in all three planes."""

    def legend(*items):
        shown = turned(Scene(volume, {"answer": mask}, Prompt(items), "title"))
        return [handle.get_label() for handle in _legend(shown, middle_of(shown))]

    faint = "faint: in other slices than the one shown"
    middle = middle_of(turned(Scene(volume, {"answer": mask}, Prompt(), "title")))
    inside, beside = Point(tuple(map(float, middle))), Point((*map(float, middle[:2]), middle[2] + 3.0))
    assert faint not in legend(inside) and faint not in legend() and faint in legend(inside, beside)
    assert faint not in legend(Box((58, 68, 13), (82, 92, 19)))
    assert faint in legend(Box((58, 68, middle[2] + 2), (82, 92, middle[2] + 4)))
    stroke = Stroke((inside.at, beside.at), positive=False)
    assert "drawn beside it" in legend(stroke) and "drawn on the target" not in legend(stroke, inside)


def test_an_empty_answer_without_a_prompt_is_drawn_too(volume, mask, tmp_path):
    overlay(tmp_path / "p.png", [Scene(volume, {"answer": torch.zeros_like(mask)}, Prompt(), "nothing")])
    assert len(pixels_of(tmp_path / "p.png", "outline")) == 0


@pytest.mark.parametrize("spacing_mm", [0.001, 0.03, 40.0])
def test_scans_of_any_size_get_a_scale_bar(volume, mask, tmp_path, spacing_mm):
    """A micro-CT of three millimetres is narrower than four times the shortest bar of a millimetre."""
    small = Volume(volume.array, Grid.around((0, 0, 0), volume.grid.shape, (spacing_mm,) * 3))
    overlay(tmp_path / "p.png", [Scene(small, {"answer": mask}, Prompt(), "title")])
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_scenes_are_drawn_below_each_other(volume, mask, tmp_path):
    scene = Scene(volume, {"answer": mask}, Prompt(), "title", truth=mask)
    overlay(tmp_path / "p.png", [scene, scene])
    assert matplotlib.image.imread(tmp_path / "p.png").shape[:2] == (1080, 1350)


def test_a_folder_that_is_not_there_is_named(volume, mask, tmp_path):
    with pytest.raises(FileError, match="none/p.png: no such folder"):
        overlay(tmp_path / "none" / "p.png", [Scene(volume, {"answer": mask}, Prompt(), "title")])


def test_a_webp_shows_the_same_at_a_fraction_of_the_size(volume, mask, tmp_path):
    scene = Scene(volume, {"answer": mask}, Prompt(), "title")
    small = drawn([scene], "webp", width=675)
    assert (small[:4], small[8:12]) == (b"RIFF", b"WEBP")
    plain = drawn([scene])
    assert len(small) < len(plain) / 3
    (tmp_path / "p.webp").write_bytes(small)
    (tmp_path / "p.png").write_bytes(plain)
    half = matplotlib.image.imread(tmp_path / "p.webp")[:, :, :3] / 255
    full = matplotlib.image.imread(tmp_path / "p.png")[:540, :1350, :3]
    assert half.shape[:2] == (270, 675)
    means = full.reshape(270, 2, 675, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - means).mean() < 0.02


def test_dollars_in_names_are_no_formulas(volume, mask):
    assert drawn([Scene(volume, {r"a $\nosuch$ b": mask}, Prompt(), r"$\nosuch$")])[:4] == b"\x89PNG"
