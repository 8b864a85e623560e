"""The picture of a mixture's choices, for reports (SVG) and files (PNG): structures by experts."""

import io
import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sam_moe.evaluation.routing.shares import Shares, StructureShares
from sam_moe.files import shown
from sam_moe.ownership import GENERATOR

# Of paper, ink, faint ink, empty cells and full cells; a page puts its own in their place.
PAPER, INK, FAINT, PANEL, FULL = "#ffffff", "#1a1f24", "#5a646e", "#f4f6f8", "#0072b2"

_CELL_IN, _LINE_IN, _LETTER_IN = 0.95, 0.34, 0.085
_LEAST = 0.005  # a smaller share is no figure
_DARK = 0.6  # above it figures are in the colour of paper


def draw(found: Shares, title: str = "") -> Figure:
    """A row a structure, a column an expert; in brackets the number of answers.

    A cell's shade and left figure are the expert's share, its right figure the mean confidence in it.
    """
    names = [f"{shown(one.structure)} ({one.answers})" for one in found.structures]
    experts = [shown(id) for id in found.experts]
    left = 0.15 + _LETTER_IN * max(map(len, names))
    top = 0.2 + 0.6 * _LETTER_IN * max(map(len, experts))
    right = 0.7 * _LETTER_IN * len(experts[-1])
    wide, high = _CELL_IN * len(found.experts), _LINE_IN * len(names)
    bottom = 0.35 if title else 0.05
    size = (left + wide + right, top + high + bottom)
    figure = Figure(figsize=size, dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / size[0], bottom / size[1], wide / size[0], high / size[1]))
    axes.set(xlim=(0, len(found.experts)), ylim=(len(names), 0))
    axes.set_axis_off()
    write: dict[str, Any] = {"fontsize": 9, "color": INK, "parse_math": False}
    for down, one in enumerate(found.structures):
        axes.text(-0.08, down + 0.5, names[down], ha="right", va="center", **write)
        for at, id in enumerate(found.experts):
            share = one.shares[id]
            for colour, alpha in ((PANEL, 1.0), (FULL, share)) if share > 0 else ((PANEL, 1.0),):
                cell = Rectangle((at + 0.01, down + 0.03), 0.98, 0.94, color=colour, alpha=alpha, lw=0)
                axes.add_patch(cell).set_clip_on(False)
            for x, side, words in ((0.08, "left", _share(one, id)), (0.92, "right", _sure(one, id))):
                shade = PAPER if share > _DARK else INK if share >= _LEAST else FAINT
                axes.text(at + x, down + 0.5, words, ha=side, va="center", **write | {"color": shade})
    for at, id in enumerate(experts):
        axes.text(at + 0.4, -0.1, id, rotation=35, rotation_mode="anchor", ha="left", **write)
    if title:
        axes.text(0, len(names) + 0.7, title, ha="left", va="center", **write | {"color": FAINT})
    return figure


def as_png(figure: Figure) -> bytes:
    """The picture on white paper."""
    made = io.BytesIO()
    figure.savefig(made, format="png", metadata={"Software": GENERATOR})
    return made.getvalue()


def as_svg(figure: Figure, label: str, colours: Mapping[str, str]) -> Element:
    """The picture as part of a page, in its font and without paper; `colours` are its own for those above."""
    made = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
        figure.savefig(made, format="svg", transparent=True, metadata={"Date": None})
    drawn = fromstring(made.getvalue())
    root = Element("svg", {"viewBox": drawn.attrib["viewBox"], "role": "img", "aria-label": label})
    root.set("class", "picture")
    root.extend(child for child in drawn if child.tag.endswith("}g"))
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.attrib.pop("id", None)
        style = re.sub(r"font-family:[^;]*; ?", "", one.attrib.get("style", ""))
        for ours, theirs in colours.items():
            style = style.replace(ours, theirs)
        if style:
            one.set("style", style)
    return root


def _share(one: StructureShares, id: str) -> str:
    return f"{one.shares[id]:.0%}" if one.shares[id] >= _LEAST else ""


def _sure(one: StructureShares, id: str) -> str:
    return f"{one.confidence[id]:.2f}" if id in one.confidence else ""
