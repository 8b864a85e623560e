"""The picture of a network's routing: a heat map of experts for each gated place and modality."""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sam_moe.evaluation.routing.modalities import ModalityRouting
from sam_moe.evaluation.routing.picture import FAINT, FULL, INK, PANEL, PAPER
from sam_moe.files import shown

_CELL_IN, _LINE_IN, _LETTER_IN, _GAP_IN, _NATS_IN = 0.62, 0.3, 0.08, 0.18, 1.5
_DARK = 0.6  # above it figures are in the colour of paper


def draw(found: ModalityRouting, title: str = "") -> Figure:
    """A row a gated place, a block a modality, and in it a column an expert; right of them the information.

    Shade and figure of a cell are the expert's mean weight on the modality's slices. The information between
    the chosen expert and the modality stands in nats, in brackets that of modalities dealt anew; below them
    the sums.
    """
    places = [shown(one.place) for one in found.places]
    experts, modalities = [shown(id) for id in found.experts], list(found.slices)
    left = 0.2 + _LETTER_IN * max(map(len, ["sum", *places]))
    top = 0.55 + 0.6 * _LETTER_IN * max(map(len, experts))
    block = _CELL_IN * len(experts) + _GAP_IN
    wide, high = block * len(modalities) + _NATS_IN, _LINE_IN * (len(places) + 1)
    bottom = 0.35 if title else 0.1
    size = (left + wide + 0.1, top + high + bottom)
    figure = Figure(figsize=size, dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / size[0], bottom / size[1], wide / size[0], high / size[1]))
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.set_axis_off()
    write: dict[str, Any] = {"fontsize": 9, "color": INK, "parse_math": False}
    for at, modality in enumerate(modalities):
        words = f"{shown(modality)} ({found.slices[modality]} slices)"
        axes.text(at * block, -top + 0.25, words, ha="left", va="center", **write)
        for column, id in enumerate(experts):
            x = at * block + (column + 0.4) * _CELL_IN
            axes.text(x, -0.05, id, rotation=35, rotation_mode="anchor", ha="left", **write)
    axes.text(wide - 0.1, -0.12, "nats (shuffled)", ha="right", va="center", **write)
    for down, one in enumerate(found.places):
        y = (down + 0.5) * _LINE_IN
        axes.text(-0.08, y, places[down], ha="right", va="center", **write)
        for at, modality in enumerate(modalities):
            for column, share in enumerate(one.shares[modality]):
                corner = (at * block + column * _CELL_IN + 0.01, down * _LINE_IN + 0.01)
                for colour, alpha in ((PANEL, 1.0), (FULL, min(1.0, share))):
                    edges = (_CELL_IN - 0.02, _LINE_IN - 0.02)
                    axes.add_patch(Rectangle(corner, *edges, color=colour, alpha=alpha, lw=0))
                shade = PAPER if share > _DARK else INK
                x = corner[0] + _CELL_IN / 2
                axes.text(x, y, f"{share:.2f}", ha="center", va="center", **write | {"color": shade})
        words = f"{one.nats:.3f} ({one.shuffled:.4f})"
        axes.text(wide - 0.1, y, words, ha="right", va="center", **write)
    y = (len(places) + 0.5) * _LINE_IN
    axes.text(-0.08, y, "sum", ha="right", va="center", **write)
    axes.text(wide - 0.1, y, f"{found.nats:.3f} ({found.shuffled:.4f})", ha="right", va="center", **write)
    if title:
        faint = write | {"color": FAINT}
        axes.text(0, high + 0.2, title, ha="left", va="center", **faint)
    return figure
