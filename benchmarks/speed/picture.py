"""The picture of growth: seconds over size, both in powers of ten, one panel for each thing that grows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from benchmarks.speed.sections.growth import Growth

# Okabe and Ito's, distinct also for the colour-blind; each curve has its own marker as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "s", "^", "D")


def draw(grown: Sequence[Growth], path: Path, title: str) -> None:
    """Write the picture."""
    rows = -(-len(grown) // 3)
    figure = Figure(figsize=(12, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 3, squeeze=False)
    for ax, one in zip(axes.flat, grown, strict=False):
        _panel(ax, one)
    for ax in axes.flat[len(grown) :]:
        ax.set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def _panel(ax: Axes, one: Growth) -> None:
    """Curves, each with its steepest slope in words, and a dotted line that grows as the size does."""
    for (name, seconds), colour, marker in zip(one.curves.items(), _COLOURS, _MARKERS, strict=False):
        label = f"{name}, exponent {exponent(one.sizes, seconds):.2f}"
        ax.plot(one.sizes, seconds, color=colour, marker=marker, markersize=4, label=label)
    low = min(min(seconds) for seconds in one.curves.values())
    sizes = np.array(one.sizes)
    ax.plot(sizes, low * sizes / sizes[0], ":", color="0.6", linewidth=1, label="exponent 1")
    ax.set(xscale="log", yscale="log", xlabel=one.over, ylabel="seconds")
    if max(one.sizes) < 1000:
        ax.set_xticks(one.sizes, [f"{size:g}" for size in one.sizes])
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7, frameon=False)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the straight line that fits best through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
