"""The report's tables: figures of systems and prompts, of structures and groups, and figures over clicks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from sam_moe.evaluation.report.page import el, name_of, table
from sam_moe.evaluation.results import METRICS, UNPROMPTED, Metric
from sam_moe.evaluation.scoring.summary import OFFICIAL

_ALIKE = 5e-4
_SHOWN_IN_PARTS = ("dice", "nsd")

Figures = Mapping[str, Any]


def overview(summary: Figures, prompts: Sequence[str]) -> Element:
    """A row for each prompt and system: means with patients' intervals, then medians; the best is bold."""
    systems = list(summary)
    head = ["last prompt", "system", *(_title(metric) for metric in METRICS.values()), "targets", "missed"]
    rows = []
    for prompt in prompts:
        own = [system for system in systems if prompt in summary[system]]
        best = {name: _best([summary[s][prompt][name] for s in own], m) for name, m in METRICS.items()}
        for system in own:
            cells = summary[system][prompt]
            missed = cells["dice"]["n_missed"]
            row = [el("th", prompt if system == own[0] else ""), el("td", name_of(system, systems))]
            count = cells["dice"]["n"]
            row += [_cell(cells[name], metric, best[name], count) for name, metric in METRICS.items()]
            row.append(el("td", str(cells["dice"]["n"]), class_="n"))
            row.append(el("td", el("span", str(missed), class_="bad" if missed else None), class_="n"))
            rows.append((system == own[0], row))
    return _grouped(table(head, [row for _, row in rows]), [first for first, _ in rows])


def official(summary: Figures, prompts: Sequence[str]) -> Element | None:
    """Figures by the challenge's own definitions: means, medians, and how many targets those left out."""
    names = [
        name for name in METRICS if any(OFFICIAL + name in c for s in summary.values() for c in s.values())
    ]
    if not names:
        return None
    systems = list(summary)
    head: list[str] = ["last prompt", "system"]
    for name in names:
        head += [_title(METRICS[name]), "median", "counted"]
    rows = []
    for prompt in prompts:
        for system in (s for s in systems if OFFICIAL + names[0] in summary[s].get(prompt, {})):
            cells, row = summary[system][prompt], [el("th", prompt), el("td", name_of(system, systems))]
            for name in names:
                found, digits = cells[OFFICIAL + name], METRICS[name].digits
                row += [
                    el("td", _number(found["mean"], digits), class_="n"),
                    el("td", _number(found["median"], digits), class_="n"),
                    el("td", f"{found['n']} of {cells['dice']['n']}", class_="n"),
                ]
            rows.append(row)
    return table(head, rows)


def parts(groups: Mapping[str, Figures], what: str, prompt: str, systems: Sequence[str]) -> Element:
    """A row for each structure or group, a column for each system: Dice and NSD after one prompt.

    A system that takes no prompts stands beside any.
    """
    head: list[str | Element] = [what, "targets"]
    head += [name_of(system, systems) for system in systems]
    rows = []
    for name, summary in groups.items():
        found = {s: own for s in systems if (own := _after(prompt, summary.get(s, {})))}
        if not found:
            continue
        best = _best([cells["dice"] for cells in found.values()], METRICS["dice"])
        count = max(cells["dice"]["n"] for cells in found.values())
        cells = [el("th", name), el("td", str(count), class_="n")]
        for system in systems:
            cells.append(_both(found[system], best) if system in found else el("td", "–", class_="n"))
        rows.append(cells)
    return table(head, rows)


def _after(prompt: str, figures: Figures) -> Figures | None:
    """A system's figures after a prompt, or those that it has without one."""
    return next((figures[name] for name in (prompt, *UNPROMPTED) if name in figures), None)


def clicks(interactive: Mapping[str, Any]) -> Element | None:
    """Figures over clicks of every system and chain of prompts, each with its interval."""
    chains = [(s, chain, cells) for s, own in interactive.items() for chain, cells in own.items()]
    names = list(
        dict.fromkeys(n for _, _, cells in chains for n, c in cells.items() if isinstance(c, Mapping))
    )
    if not names:
        return None
    systems = list(interactive)
    head = ["prompts", "system", *(_words(name) for name in names)]
    rows = []
    for chain in dict.fromkeys(chain for _, chain, _ in chains):
        for system, own, cells in chains:
            if own == chain:
                row = [el("th", f"{chain} × {cells.get('clicks', '')}".rstrip(" ×"))]
                row.append(el("td", name_of(system, systems)))
                rows.append(row + [_figure(cells.get(name), "clicks" in name) for name in names])
    return table(head, rows)


def _figure(cell: Mapping[str, Any] | None, counted: bool) -> Element:
    if not cell:
        return el("td", "–", class_="n")
    reached = cell.get("reached")
    notes = [_interval(cell, 2)] + ([f"{reached:.0%} reach it"] if reached is not None else [])
    digits = 2 if counted else 3
    return el("td", _number(cell["mean"], digits), [el("small", note) for note in notes if note], class_="n")


def _words(name: str) -> str:
    known = {"dice": "Dice", "nsd": "NSD", "auc": "AUC", "final": "final"}
    if name.startswith("clicks_to_"):
        return f"clicks to Dice {name.removeprefix('clicks_to_')}"
    return " ".join(known.get(word, word) for word in name.split("_"))


def _title(metric: Metric) -> str:
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.title}{unit}\u00a0{'↑' if metric.higher_is_better else '↓'}"


def _best(cells: Sequence[Figures], metric: Metric) -> float | None:
    """The best mean where there is something to compare."""
    means = [cell["mean"] for cell in cells if cell["mean"] is not None]
    if len(means) < 2 or max(means) - min(means) < _ALIKE:
        return None
    return float(max(means) if metric.higher_is_better else min(means))


def _is_best(cell: Figures, best: float | None) -> bool:
    return best is not None and cell["mean"] is not None and abs(cell["mean"] - best) < _ALIKE


def _cell(cell: Figures, metric: Metric, best: float | None, targets: int) -> Element:
    notes = [_interval(cell, metric.digits), f"median {_number(cell['median'], metric.digits)}"]
    notes.append("" if cell["n"] == targets else f"known of {cell['n']}")
    small = [el("small", note) for note in notes if note]
    marked = "n best" if _is_best(cell, best) else "n"
    return el("td", _number(cell["mean"], metric.digits), small, class_=marked)


def _both(cells: Figures, best: float | None) -> Element:
    dice, nsd = (cells[name] for name in _SHOWN_IN_PARTS)
    marked = "n best" if _is_best(dice, best) else "n"
    notes = [f"{_interval(dice, 2)} ".strip(), f"NSD {_number(nsd['mean'], 3)}"]
    return el("td", _number(dice["mean"], 3), [el("small", note) for note in notes if note], class_=marked)


def _interval(cell: Mapping[str, Any], digits: int) -> str:
    return f"{cell['ci95'][0]:.{digits}f}–{cell['ci95'][1]:.{digits}f}" if cell.get("ci95") else ""


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _grouped(made: Element, firsts: Sequence[bool]) -> Element:
    """Draw a line above the first row of each group."""
    body: Iterator[Element] = made.iter("tbody")
    for row, first in zip(next(body), firsts, strict=True):
        if first:
            row.set("class", "first")
    return made
