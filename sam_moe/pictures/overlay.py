"""A picture of an answer: three planes through the target, prompts and outlines, seen as radiologists do."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke

from sam_moe.files import replace_bytes
from sam_moe.ownership import GENERATOR
from sam_moe.pictures.scene import Scene, Shown, field_of, middle_of, turned, window_of
from sam_moe.prompts.prompt import Box, Item, Loop, Point, Stroke
from sam_moe.shapes import Shaped

# Distinct to people who are blind to red and green (Okabe and Ito), and bright on grey.
_OUTLINES = ("#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#d55e00", "#009e73", "#b3a6ff")
_TRUTH, _POSITIVE, _NEGATIVE, _BOX = "#ffffff", "#33ff66", "#ff4040", "#ffe119"
_EDGED: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="black")]
_WIDTH_IN, _ROW_IN = 13.5, 5.4
_FAINT = 0.4
_QUALITY = 72


@dataclass(frozen=True)
class _Plane:
    """A plane by its axes in RAS: the one it cuts, those it shows, and what its edges are called."""

    name: str
    cut: int
    across: int
    up: int
    edges: str  # left, right, bottom, top


# Radiological: seen from the feet, or from the patient's front or left, so that R is on the left.
_PLANES = (
    _Plane("axial", 2, 0, 1, "RLPA"),
    _Plane("coronal", 1, 0, 2, "RLIS"),
    _Plane("sagittal", 0, 1, 2, "APIS"),
)


def overlay(path: str | Path, scenes: Sequence[Scene]) -> None:
    """Draw scenes below each other and write them as a PNG.

    Ours. Each row shows the planes where the target is largest (of an empty mask, those through the first
    prompt), in millimetres, so that thick slices keep their proportions. Prompts that lie in other slices are
    drawn faintly. A scan with oblique axes is shown along its own axes, named by the nearest direction.

    Raises:
        GeometryError: for a mask that does not fit its scan.
        FileError: where the file cannot be written.
    """
    replace_bytes(path, drawn(scenes))


def drawn(scenes: Sequence[Scene], kind: Literal["png", "webp"] = "png", width: int = 1350) -> bytes:
    """The picture that `overlay` writes, so many pixels wide; as WebP, with losses, a tenth as large."""
    size = (_WIDTH_IN, _ROW_IN * len(scenes))
    figure = Figure(figsize=size, dpi=width / _WIDTH_IN, facecolor="black")
    FigureCanvasAgg(figure)
    rows = figure.subfigures(len(scenes), 1, squeeze=False)[:, 0]
    for row, scene in zip(rows, scenes, strict=True):
        _draw_row(row, turned(scene))
    picture = io.BytesIO()
    if kind == "png":
        figure.savefig(picture, format=kind, metadata={"Software": GENERATOR})  # by which it is known as ours
    else:
        figure.savefig(picture, format=kind, pil_kwargs={"quality": _QUALITY})
    return picture.getvalue()


def _draw_row(row: SubFigure, shown: Shown) -> None:
    row.set_facecolor("black")
    middle = middle_of(shown)
    low_mm, high_mm = field_of(shown, middle)
    window = window_of(shown, middle)
    for column, plane in enumerate(_PLANES):
        axes = row.add_axes((0.004 + column * 0.333, 0.09, 0.326, 0.815))
        _draw_plane(axes, plane, shown, middle, window)
        axes.set_xlim(high_mm[plane.across], low_mm[plane.across])
        axes.set_ylim(low_mm[plane.up], high_mm[plane.up])
        _name_edges(axes, plane)
        if column == 0:
            _scale_bar(axes, high_mm[plane.across] - low_mm[plane.across])
    row.text(0.006, 0.955, shown.title, color="white", fontsize=13, va="center", parse_math=False)
    note = "radiological view: the patient's right is on the left"
    note += f" · window {window[0]:.4g} to {window[1]:.4g}"
    row.text(0.994, 0.955, note, color="0.7", fontsize=9, va="center", ha="right")
    row.legend(
        handles=list(_legend(shown, middle)),
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=8,
        frameon=False,
        labelcolor="white",
        fontsize=10,
    )


def _draw_plane(
    axes: Axes, plane: _Plane, shown: Shown, middle: tuple[int, ...], window: tuple[float, float]
) -> None:
    index, step = middle[plane.cut], (shown.spacing_mm[plane.across], shown.spacing_mm[plane.up])
    image = shown.image.take(index, plane.cut).T.astype(np.float32)
    height, width = image.shape
    edges = (-step[0] / 2, (width - 0.5) * step[0], -step[1] / 2, (height - 0.5) * step[1])
    axes.imshow(
        image,
        cmap="gray",
        origin="lower",
        extent=edges,
        vmin=window[0],
        vmax=window[1],
        interpolation="bicubic",
    )
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for colour, answer in zip(_colours(), shown.answers.values(), strict=False):
        _outline(axes, answer.take(index, plane.cut), step, colour, "solid")
    if shown.truth is not None:
        _outline(axes, shown.truth.take(index, plane.cut), step, _TRUTH, (0, (2, 2)))
    for item in shown.prompt:
        _draw_item(axes, item, plane, index, step)
    text = f"{plane.name}, {shown.stored_index(plane.cut, index)}"
    _write(axes, 0.02, 0.97, text, va="top", fontsize=11)


def _outline(
    axes: Axes,
    answer: Shaped[np.ndarray, "across up"],
    step: tuple[float, float],
    colour: str,
    style: str | tuple[int, tuple[int, int]],
) -> None:
    """Where an answer passes one half: between voxels, as `imshow` interpolates the scan between them."""
    if not (answer > 0.5).any():
        return
    padded = np.pad(answer, 1).T.astype(np.float32)  # closes outlines at the scan's border
    across, up = ((np.arange(n) - 1) * s for n, s in zip(padded.T.shape, step, strict=True))
    axes.contour(across, up, padded, levels=[0.5], colors=[colour], linewidths=1.6, linestyles=[style])


def _draw_item(axes: Axes, item: Item, plane: _Plane, index: int, step: tuple[float, float]) -> None:
    """A prompt; faint where it lies in other slices than this one."""
    here = _lies_in(item, plane.cut, index)
    if isinstance(item, Point):
        marker, colour = ("+", _POSITIVE) if item.positive else ("x", _NEGATIVE)
        axes.plot(
            item.at[plane.across] * step[0],
            item.at[plane.up] * step[1],
            marker=marker,
            color=colour,
            markersize=13,
            markeredgewidth=2.4,
            alpha=1.0 if here else _FAINT,
            path_effects=_EDGED if here else None,
        )
        return
    alpha = 1.0 if here else _FAINT
    if isinstance(item, Stroke | Loop):
        line = np.concatenate([item.places, item.places[:1]]) if isinstance(item, Loop) else item.places
        axes.plot(
            line[:, plane.across] * step[0],
            line[:, plane.up] * step[1],
            color=_POSITIVE if item.positive else _NEGATIVE,
            linewidth=2.0,
            linestyle="-" if item.positive else "--",
            alpha=alpha,
        )
        return
    low, high = item.places
    corner = (low[plane.across] * step[0], low[plane.up] * step[1])
    width = (high[plane.across] - low[plane.across]) * step[0]
    height = (high[plane.up] - low[plane.up]) * step[1]
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=_BOX, linewidth=1.4, alpha=alpha))


def _lies_in(item: Item, axis: int, index: int) -> bool:
    """Whether a prompt lies in the slice with this index along an axis."""
    low, high = item.places[:, axis].min(), item.places[:, axis].max()
    room = 0.0 if isinstance(item, Box) else 0.5  # a box has its voxels' edges, all else their centres
    return bool(low - room <= index <= high + room)


def _name_edges(axes: Axes, plane: _Plane) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.03), (0.5, 0.97))
    for letter, (x, y) in zip(plane.edges, places, strict=True):
        _write(axes, x, y, letter, ha="center", va="center", fontweight="bold")


def _scale_bar(axes: Axes, width_mm: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten, at most a quarter of the panel."""
    ten = 10.0 ** np.floor(np.log10(width_mm / 4))
    length = max(step * ten for step in (1, 2, 5) if step * ten <= width_mm / 4 * (1 + 1e-9))
    share = length / width_mm
    (line,) = axes.plot([0.03, 0.03 + share], [0.04, 0.04], transform=axes.transAxes, color="white", lw=2)
    line.set_path_effects(_EDGED)
    _write(axes, 0.03, 0.055, f"{length:g} mm", fontsize=9)


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """White letters with a dark edge, readable on any tissue; x and y are shares of the panel."""
    axes.text(x, y, text, transform=axes.transAxes, color="white", path_effects=_EDGED, **style)


def _legend(shown: Shown, middle: tuple[int, ...]) -> Iterator[Line2D | Patch]:
    for colour, name in zip(_colours(), shown.masks, strict=False):
        yield Line2D([], [], color=colour, label=name.replace("$", r"\$"))  # no formula
    if shown.truth is not None:
        yield Line2D([], [], color=_TRUTH, linestyle=(0, (2, 2)), label="truth")
    for positive, marker, colour, name in (
        (True, "+", _POSITIVE, "point on the target"),
        (False, "x", _NEGATIVE, "point beside it"),
    ):
        if any(point.positive is positive for point in shown.prompt.points):
            yield Line2D([], [], ls="none", marker=marker, color=colour, markersize=9, mew=2.4, label=name)
    for positive, colour, name in (
        (True, _POSITIVE, "drawn on the target"),
        (False, _NEGATIVE, "drawn beside it"),
    ):
        if any(item.positive is positive for item in shown.prompt if isinstance(item, Stroke | Loop)):
            yield Line2D([], [], color=colour, linestyle="-" if positive else "--", label=name)
    if shown.prompt.boxes:
        yield Patch(fill=False, edgecolor=_BOX, label="box")
    if not all(_lies_in(item, plane.cut, middle[plane.cut]) for item in shown.prompt for plane in _PLANES):
        label = "faint: in other slices than the one shown"
        yield Line2D([], [], ls="none", marker="s", color="white", alpha=_FAINT, label=label)


def _colours() -> Iterator[str]:
    return itertools.cycle(_OUTLINES)
