"""The report's picture of a mixture: structures below each other, experts side by side, who answered what."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from sam_moe.evaluation.report.page import colour, el
from sam_moe.evaluation.report.svg import cut, picture, text, width_of
from sam_moe.evaluation.results import Row

_CELL, _CELL_HEIGHT = 88.0, 28.0


def routing(rows: Sequence[Row]) -> Element | None:
    """Of one system: the share of each structure's answers that each expert gave, and how sure the gate was.

    A cell's left figure is the share, weights of several experts counted as such; the right one the mean
    confidence in that expert, whether it answered or not. None of a system that chooses among nobody.
    """
    rows = [row for row in rows if sum(row.answered.values()) > 0]
    if not rows:
        return None
    experts = list(dict.fromkeys(name for row in rows for name in (*row.confidence, *row.answered)))
    shares = {
        label: _shares([r for r in rows if r.label == label], experts) for label in {r.label for r in rows}
    }
    place = {expert: at for at, expert in enumerate(experts)}
    most = {label: max(experts, key=lambda e: (own[e][0], -place[e])) for label, own in shares.items()}
    labels = sorted(shares, key=lambda label: (place[most[label]], -shares[label][most[label]][0], label))
    counts = {label: sum(row.label == label for row in rows) for label in labels}
    left = width_of([f"{label} ({counts[label]})" for label in labels]) + 14
    top = 0.72 * width_of(experts) + 14
    made = []
    for at, expert in enumerate(experts):
        x, y = left + (at + 0.45) * _CELL, top - 6
        turned = text(x, y, cut(expert))
        turned.set("transform", f"rotate(-42 {x:.1f} {y:.1f})")
        made.append(turned)
    for down, label in enumerate(labels):
        y = top + down * _CELL_HEIGHT
        made.append(text(left - 8, y + 18, cut(f"{label} ({counts[label]})"), "end"))
        for at, expert in enumerate(experts):
            made += _cell(left + at * _CELL, y, *shares[label][expert])
    width = left + len(experts) * _CELL + 0.75 * width_of(experts[-1:])
    return picture(width, top + len(labels) * _CELL_HEIGHT + 6, "Who answered what", made)


def _shares(rows: Sequence[Row], experts: Sequence[str]) -> dict[str, tuple[float, float | None]]:
    found = {}
    for expert in experts:
        share = sum(row.answered.get(expert, 0.0) / sum(row.answered.values()) for row in rows) / len(rows)
        sure = [row.confidence[expert] for row in rows if expert in row.confidence]
        found[expert] = (share, sum(sure) / len(sure) if sure else None)
    return found


def _cell(x: float, y: float, share: float, sure: float | None) -> list[Element]:
    size = {"x": x + 1, "y": y + 1, "width": _CELL - 2, "height": _CELL_HEIGHT - 2}
    ink = "inverse" if share > 0.6 else None if share >= 0.005 else "faint"
    made = [
        el("rect", **size, fill="var(--panel)", rx=2),
        el("rect", **size, fill=colour(0), fill_opacity=share, rx=2),
    ]
    if share >= 0.005:
        made.append(text(x + 6, y + 18, f"{share:.0%}", class_=ink))
    if sure is not None:
        made.append(text(x + _CELL - 6, y + 18, f"{sure:.2f}", "end", class_=ink))
    return made
