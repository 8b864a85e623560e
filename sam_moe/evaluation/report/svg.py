"""Axes for pictures in pages: scales, ticks and frames as SVG, in the page's own colours, light and dark."""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from matplotlib.ticker import LogLocator, MaxNLocator

from sam_moe.evaluation.report.page import colour, el

_TICKS = 5
_LINE = 15  # height of a line of text
_LETTER = 7.2  # mean width of a letter
_CUT = 26


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` onto places from `start` to `stop`, in the picture's units.

    `log` gives each decade the same room. The first `to_zero` units of such a scale are for what lies below
    `low`, evenly down to 0, which no logarithm reaches.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    to_zero: float = 0.0

    def __call__(self, value: float) -> float:
        """Where a value is; what lies outside is put at the edge."""
        if self.to_zero and value < self.low:
            return self.start + self.to_zero * max(value / self.low, 0.0)
        low, high, value = (
            math.log10(max(x, self.low)) if self.log else x for x in (self.low, self.high, value)
        )
        share = min(max((value - low) / ((high - low) or 1), 0.0), 1.0)
        start = self.start + self.to_zero
        return start + share * (self.stop - start)

    def ticks(self) -> list[float]:
        """Round numbers between the ends."""
        room = abs(self.stop - self.start)
        if self.log:
            decades = math.log10(self.high / self.low)
            subs = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
            found = LogLocator(subs=subs, numticks=20).tick_values(self.low, self.high)
        else:
            found = MaxNLocator(max(2, min(_TICKS, int(room / 45)))).tick_values(self.low, self.high)
        edge = 1e-9 * abs(self.high)
        round_ones = [float(tick) for tick in found if self.low - edge <= tick <= self.high + edge]
        return [0.0, *round_ones] if self.to_zero else round_ones


def picture(width: float, height: float, label: str, *children: Element | Iterable[Element]) -> Element:
    """An SVG that grows with its column; `label` is its description for screen readers."""
    return el(
        "svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, class_="picture"
    )


def text(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None) -> Element:
    """Words at a place."""
    return el("text", words, x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, **style: str | float | None) -> Element:
    """A straight line."""
    return el("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", fill="none", **style)


def dots(places: Iterable[tuple[float, float]], size: float, ink: str, opacity: float) -> Element:
    """Many round dots as one path, a dozen bytes each."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    style: dict[str, str | float] = {
        "stroke": ink,
        "stroke_width": size,
        "stroke_linecap": "round",
        "stroke_opacity": opacity,
    }
    return el("path", d=path, fill="none", **style)


def across(scale: Scale, top: float, bottom: float, title: str) -> list[Element]:
    """Rules, numbers and a title below, for values that grow to the right; `//` where the way to 0 is."""
    made = []
    for tick in scale.ticks():
        x = scale(tick)
        made += [
            line(x, top, x, bottom, class_="rule"),
            text(x, bottom + _LINE, number(tick), "middle", "faint"),
        ]
    if scale.to_zero:
        made.append(text(scale.start + scale.to_zero / 2, bottom + _LINE, "//", "middle", "faint"))
    middle = (scale.start + scale.stop) / 2
    return [*made, text(middle, bottom + 2.2 * _LINE, title, "middle", "faint")]


def upright(scale: Scale, left: float, right: float, title: str) -> list[Element]:
    """Rules and numbers at the left, a title above, for values that grow upwards."""
    made = []
    for tick in scale.ticks():
        y = scale(tick)
        made += [line(left, y, right, y, class_="rule"), text(left - 6, y + 4, number(tick), "end", "faint")]
    return [*made, text(0, min(scale.start, scale.stop) - 10, title, "start", "faint")]


def legend(
    systems: Sequence[str], x: float, y: float, width: float, shown: Container[str] | None = None
) -> tuple[list[Element], float]:
    """The systems that are shown in their colours, in as many lines as they need, and the height of it."""
    made, left, top = [], x, y
    for place, name in enumerate(systems):
        if shown is not None and name not in shown:
            continue
        room = 24 + _LETTER * len(cut(name))
        if left > x and left + room > x + width:
            left, top = x, top + _LINE + 3
        made.append(dots([(left + 5, top - 4)], 9, colour(place), 1))
        made.append(text(left + 14, top, cut(name)))
        left += room
    return made, top - y + _LINE


def cut(words: str, letters: int = _CUT) -> str:
    """Long names lose their middle."""
    if len(words) <= letters:
        return words
    return f"{words[: letters // 2]}…{words[-(letters - letters // 2 - 1) :]}"


def width_of(names: Iterable[str]) -> float:
    """About the room that the longest of some names takes."""
    return max((_LETTER * len(cut(name)) for name in names), default=0.0)


def number(value: float) -> str:
    """A tick as one writes it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
