"""A picture of who answered what: structures below each other, experts side by side."""

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sam_moe.evaluation.routing.routes import Routes
from sam_moe.files import replace_bytes
from sam_moe.ownership import GENERATOR

_CELL_IN, _LINE_IN = 0.95, 0.34


def draw(found: Routes, path: Path) -> None:
    """Draw the share of each structure's prompts that each expert answered, as a PNG.

    Structures stand in the order of the experts that answer most of them, so that a gate that knows its
    experts shows a staircase.

    Raises:
        FileError: where the file cannot be written.
    """
    shares = found.shares()
    place = {id: number for number, id in enumerate(found.ids)}
    most = {name: max(row, key=lambda id: (row[id], -place[id])) for name, row in shares.items()}
    names = sorted(shares, key=lambda name: (place[most[name]], -shares[name][most[name]], name))
    values = np.array([[shares[name][id] for id in found.ids] for name in names])
    longest = max(len(name) for name in names)
    size = (1.2 + 0.085 * longest + _CELL_IN * len(found.ids), 1.7 + _LINE_IN * len(names))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(values):
        if share > 0:
            colour = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(found.ids)), found.ids, rotation=30, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [f"{name} ({found.count(name)})" for name in names])
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(0.5, len(found.ids) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(names) - 1), minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color("0.7")
    axes.set_xlabel(f"share of prompts answered, {found.model}", color="0.4", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": GENERATOR})
    replace_bytes(path, picture.getvalue())
