"""The report's pictures of figures: spread of a metric, curves over prompts, Dice against volume."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from sam_moe.evaluation.report.page import colour, el
from sam_moe.evaluation.report.svg import (
    Scale,
    across,
    cut,
    dots,
    legend,
    line,
    number,
    picture,
    text,
    upright,
    width_of,
)
from sam_moe.evaluation.results import Metric, Row

_WIDTH = 480.0
_ROW = 26.0
_MANY = 400  # above so many points of one system they get no names
_BINS = 5
_FEW, _BAND = 4, 0.14
_TO_ZERO = 34.0  # room for 0 at the left of a logarithmic axis


def box_plots(rows: Sequence[Row], metric: Metric, systems: Sequence[str], prompts: Sequence[str]) -> Element:
    """The spread of a metric over targets: quartiles, median, Tukey's whiskers, mean, a dot a target."""
    groups = [
        (p, [s for s in systems if any(r.system == s and r.prompt == p for r in rows)]) for p in prompts
    ]
    left = min(width_of([*systems, *prompts]) + 14, 0.42 * _WIDTH)
    height = sum(_ROW * (len(own) + 1) for _, own in groups)
    scale = _scale(metric, [getattr(row, metric.name) for row in rows if row.prompt in prompts], left)
    unit = f" ({metric.unit})" if metric.unit else ""
    made, y = across(scale, 4, height + 4, metric.title + unit), 4.0
    for prompt, own in groups:
        made.append(text(0, y + 18, cut(prompt), class_="strong"))
        y += _ROW
        for system in own:
            found = [getattr(r, metric.name) for r in rows if (r.system, r.prompt) == (system, prompt)]
            made.append(text(left - 8, y + _ROW / 2 + 4, cut(system), "end"))
            made += _box(np.array(found), scale, y + _ROW / 2, colour(systems.index(system)))
            y += _ROW
    return picture(_WIDTH, height + 46, f"{metric.title} of every system", made)


def _scale(metric: Metric, values: Sequence[float], left: float) -> Scale:
    """Shares from 0 to 1; distances in decades, for one missed target is hundreds of millimetres off.

    Where a distance is 0, or too small for the decades that are shown, the axis goes on down to a marked 0.
    """
    high = max(values, default=0.0)
    if metric.higher_is_better or high <= 0:
        return Scale(0, 1, left, _WIDTH - 12)
    low = min(value for value in values if value > high / 1000)
    to_zero = _TO_ZERO if min(values) < low else 0.0
    return Scale(0.8 * low, 1.15 * high, left, _WIDTH - 12, log=True, to_zero=to_zero)


def _box(values: np.ndarray, scale: Scale, y: float, ink: str) -> list[Element]:
    first, middle, third = np.percentile(values, (25, 50, 75)).tolist()
    reach = 1.5 * (third - first)
    low = float(values[values >= first - reach].min())
    high = float(values[values <= third + reach].max())
    places = [(scale(v), y + 12 * ((i * 0.618034) % 1 - 0.5)) for i, v in enumerate(values.tolist())]
    size = {"x": scale(first), "y": y - 7, "width": max(scale(third) - scale(first), 1.0), "height": 14}
    mean = scale(float(values.mean()))
    return [
        dots(places, 3.4 if len(values) < 200 else 2.2, ink, 0.4 if len(values) < 200 else 0.2),
        line(scale(low), y, scale(first), y, stroke=ink, stroke_width=1.5),
        line(scale(third), y, scale(high), y, stroke=ink, stroke_width=1.5),
        el("rect", **size, fill=ink, fill_opacity=0.18, stroke=ink, stroke_width=1.5, rx=2),
        line(scale(middle), y - 7, scale(middle), y + 7, stroke=ink, stroke_width=3),
        el(
            "path",
            d=f"M{mean - 4:.1f} {y:.1f}l4 -4 4 4 -4 4z",
            fill="var(--paper)",
            stroke=ink,
            stroke_width=1.5,
        ),
    ]


def curves(summary: Mapping[str, Any], metric: Metric, chain: Sequence[str]) -> Element:
    """The mean after each prompt of a chain, with the patients' interval as a band; a system is a line."""
    systems = list(summary)
    shown = {
        s: [(at, summary[s][p][metric.name]) for at, p in enumerate(chain) if p in summary[s]]
        for s in summary
    }
    names, room = legend(systems, 44, 14, _WIDTH - 50, {system for system, own in shown.items() if own})
    top = room + 30
    bottom = top + 230
    tops = [cell["ci95"][1] if cell["ci95"] else cell["mean"] for own in shown.values() for _, cell in own]
    high = 1.0 if metric.higher_is_better else 1.05 * max(tops, default=1.0)
    across_, up = Scale(0, max(len(chain) - 1, 1), 60, _WIDTH - 24), Scale(0, high, bottom, top)
    unit = f" ({metric.unit})" if metric.unit else ""
    made = [*names, *upright(up, 44, _WIDTH - 8, f"mean {metric.title}{unit}")]
    for at, prompt in enumerate(chain):
        lowered = 15 if len(chain) <= 6 or at % 2 == 0 else 29
        made.append(text(across_(at), bottom + lowered, _step(prompt, chain), "middle", "faint"))
    made.append(text((60 + _WIDTH) / 2, bottom + 36, "last prompt", "middle", "faint"))
    for place, system in enumerate(systems):
        own = [(across_(at), cell) for at, cell in shown[system]]
        bands = [(x, up(cell["ci95"][0]), up(cell["ci95"][1])) for x, cell in own if cell["ci95"]]
        if len(bands) > 1:
            outline = [(x, y) for x, y, _ in bands] + [(x, y) for x, _, y in reversed(bands)]
            made.append(
                el(
                    "path",
                    d=_path(outline) + "z",
                    fill=colour(place),
                    fill_opacity=_BAND if len(systems) <= _FEW else _BAND / 2,
                )
            )
        means = [(x, up(cell["mean"])) for x, cell in own]
        if means:
            made.append(el("path", d=_path(means), fill="none", stroke=colour(place), stroke_width=2.2))
            made.append(dots(means, 7, colour(place), 1))
    return picture(_WIDTH, bottom + 46, f"{metric.title} over prompts", made)


def _step(prompt: str, chain: Sequence[str]) -> str:
    """What a prompt added to the one before it: `+click2` of `box+click2`."""
    start = chain[0].rstrip("0123456789")
    return prompt if not prompt.startswith(f"{start}+") else prompt.removeprefix(start)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def against_volume(rows: Sequence[Row], systems: Sequence[str]) -> Element | None:
    """Dice of every target over its volume, with the median in five groups of alike many targets.

    None where no target has a volume above 0.
    """
    rows = [row for row in rows if row.truth_ml]
    if not rows:
        return None
    volumes = [row.truth_ml or 0.0 for row in rows]
    names, room = legend(systems, 44, 14, _WIDTH - 50, {row.system for row in rows})
    top = room + 30
    bottom = top + 230
    low, high = min(volumes) / 1.15, max(volumes) * 1.15
    along, up = Scale(low, high, 44, _WIDTH - 12, log=True), Scale(0, 1, bottom, top)
    made = [
        *names,
        *upright(up, 44, _WIDTH - 8, "Dice"),
        *across(along, top, bottom, "volume of the target (ml)"),
    ]
    for place, system in enumerate(systems):
        own = sorted((row for row in rows if row.system == system), key=lambda row: row.truth_ml or 0.0)
        places = [(along(row.truth_ml or 0.0), up(row.dice)) for row in own]
        if len(own) > _MANY:
            made.append(dots(places, 3.5, colour(place), 0.3))
        else:
            made += [_named(row, *at, colour(place)) for row, at in zip(own, places, strict=True)]
        if len(own) >= 3 * _BINS:
            parts = [p for p in np.array_split(np.arange(len(own)), _BINS) if len(p)]
            medians = [
                (
                    along(float(np.median([own[i].truth_ml or 0.0 for i in part]))),
                    up(float(np.median([own[i].dice for i in part]))),
                )
                for part in parts
            ]
            made.append(el("path", d=_path(medians), fill="none", stroke=colour(place), stroke_width=2.2))
    return picture(_WIDTH, bottom + 46, "Dice against volume", made)


def _named(row: Row, x: float, y: float, ink: str) -> Element:
    """A dot with its case as its title."""
    words = f"{row.case}, {row.label}: Dice {row.dice:.3f}, {number(row.truth_ml or 0.0)} ml ({row.system})"
    return el("circle", el("title", words), cx=x, cy=y, r=2.6, fill=ink, fill_opacity=0.55)
