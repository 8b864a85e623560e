"""The report: one HTML page with everything a reader of a result wants to see, that needs no other file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import yaml

from sam_moe import __version__
from sam_moe.evaluation.report.cases import Look, counted, not_there, worst_cases
from sam_moe.evaluation.report.page import colour, contents, el, figure, page, section, table
from sam_moe.evaluation.report.plots import against_volume, box_plots, curves
from sam_moe.evaluation.report.tables import clicks, official, overview, parts
from sam_moe.evaluation.results import METRICS, REPORT, Result, ResultFolder, Row, answers_to, read_result
from sam_moe.evaluation.routing import picture as routing
from sam_moe.evaluation.routing.shares import count
from sam_moe.evaluation.scoring.intervals import ABOUT
from sam_moe.evaluation.scoring.summary import chains_of, final_prompt, main_prompts, prompts_of, summarise
from sam_moe.files import replace_text

_DRAWN = ("dice", "nsd", "hd95_mm")
_PICTURES = 6
_FEW = 3
_INKS = {
    routing.PAPER: "var(--paper)",
    routing.INK: "var(--ink)",
    routing.FAINT: "var(--faint)",
    routing.PANEL: "var(--panel)",
    routing.FULL: colour(0),
}


def write_report(folder: Path | str, look: Look | None = None, pictures: int = _PICTURES) -> Path:
    """Write `report.html` into a result folder from its rows and record; return where it is.

    `look` gives what the pictures of the worst answers show (`report_cases.kept` for kept masks); without it
    they are only listed.

    Raises:
        FileError: where the folder holds no result, or the page cannot be written.
    """
    path = Path(folder) / REPORT
    replace_text(path, report(read_result(folder), look, pictures))
    return path


def report(found: ResultFolder, look: Look | None = None, pictures: int = _PICTURES) -> str:
    """The page as text."""
    rows = [row for row in found.rows if row.counts]
    summary = summarise(found.rows)
    name = str(found.result.challenge.get("title") or found.result.challenge.get("name") or found.path.name)
    if not rows:
        return page(name, el("h1", name), el("p", "No case has an answer."), *_how(found.result))
    prompts, systems = prompts_of(rows), list(summary["all"])
    sections = [
        _results(summary, prompts),
        _parts(summary, prompts, systems),
        _spread(rows, prompts, systems),
        _over_clicks(summary["all"], prompts, found.result),
        _volume(rows, prompts, systems),
        _routing(rows, systems),
        section("Worst cases", "worst", worst_cases(rows, systems, look, pictures)),
        _wrong(found.rows, summary["statuses"]),
        *_how(found.result),
    ]
    patients = len({row.patient for row in rows})
    cases, targets = len({row.case for row in rows}), len({(row.case, row.label) for row in rows})
    size = f"{_count(targets, 'target')} in {_count(cases, 'case')} of {_count(patients, 'patient')}, "
    size += f"{_count(len(systems), 'system')}; {counted(summary['statuses'])}."
    return page(name, el("h1", name), el("p", size), contents(sections), sections)


def _results(summary: Mapping[str, Any], prompts: Sequence[str]) -> Element:
    main = prompts if len(prompts) <= _FEW else main_prompts(prompts)
    note = f"Mean over targets; below it its interval over patients, and the median. {ABOUT}"
    made = section("Results", "results", el("p", note, class_="faint"), overview(summary["all"], main))
    if len(main) < len(prompts):
        made.append(el("details", el("summary", "After every prompt"), overview(summary["all"], prompts)))
    note = (
        "Targets without a usable answer count with the worst values: Dice, NSD and VS 0, HD95 the diagonal "
    )
    note += "of the scan, and the whole target as volume error."
    made.append(el("p", note, class_="faint"))
    by_challenge = official(summary["all"], main)
    if by_challenge is not None:
        made.append(el("h3", "By the challenge's own definitions"))
        note = "For comparison with published tables only: where these definitions say nothing, as of the "
        note += "distance to an empty mask, the target drops out, and missing it can improve the figure."
        made.append(el("p", note, class_="faint"))
        made.append(by_challenge)
    return made


def _parts(summary: Mapping[str, Any], prompts: Sequence[str], systems: Sequence[str]) -> Element | None:
    groups = {name: group for name, group in summary["strata"].items() if len(group) > 1}
    tables = {"structure": summary["labels"]} if len(summary["labels"]) > 1 else {}
    tables |= {f"{name} of the target" if name == "volume" else name: group for name, group in groups.items()}
    if not tables:
        return None
    final = final_prompt(prompts)
    note = f"{answers_to(final)}: mean Dice with its interval, below them mean NSD."
    made = section("Structures and groups", "parts", el("p", note, class_="faint"))
    made.extend(parts(group, what, final, systems) for what, group in tables.items())
    others = [prompt for prompt in main_prompts(prompts) if prompt != final]
    for prompt in others:
        own = [system for system in systems if prompt in summary["all"][system]]
        inner = [parts(group, what, prompt, own) for what, group in tables.items()]
        made.append(el("details", el("summary", answers_to(prompt)), inner))
    return made


def _spread(rows: Sequence[Row], prompts: Sequence[str], systems: Sequence[str]) -> Element:
    main = main_prompts(prompts)
    drawn = [figure(box_plots(rows, METRICS[name], systems, main)) for name in _DRAWN]
    note = "Each dot is a target; the box holds the middle half of them, the thick line is the median, the "
    note += "diamond the mean, whiskers reach 1.5 box lengths at most. Distances are on a logarithmic scale, "
    note += "and left of a // on a plain one down to 0."
    return section("Spread", "spread", el("p", note, class_="faint"), el("div", drawn, class_="grid"))


def _over_clicks(summary: Mapping[str, Any], prompts: Sequence[str], result: Result) -> Element | None:
    chains = [chain for chain in chains_of(prompts) if len(chain) > 1]
    if not chains:
        return None
    drawn = [figure(curves(summary, METRICS[name], chain)) for chain in chains for name in ("dice", "nsd")]
    note = "Means over targets with 95 % intervals over patients."
    made = section("Over clicks", "clicks", el("p", note, class_="faint"), el("div", drawn, class_="grid"))
    figures = clicks({s: own for s, own in result.interactive.items() if isinstance(own, dict)})
    if figures is not None:
        made.append(figures)
        made.append(el("p", "What AUC, final and clicks mean stands under Definitions.", class_="faint"))
    return made


def _volume(rows: Sequence[Row], prompts: Sequence[str], systems: Sequence[str]) -> Element | None:
    drawn = []
    for prompt in (chain[-1] for chain in chains_of(prompts)):
        one = against_volume([row for row in rows if row.prompt == prompt], systems)
        drawn += [figure(one, f"{answers_to(prompt)}.")] if one is not None else []
    note = "Each dot is a target, lines are medians of five groups of equally many."
    if not drawn:
        return None
    return section(
        "Dice against volume", "volume", el("p", note, class_="faint"), el("div", drawn, class_="grid")
    )


def _routing(rows: Sequence[Row], systems: Sequence[str]) -> Element | None:
    note = (
        "Share of the answers, over all prompts, that each expert gave (left), and the mean confidence "
        "of the gate in it (right). In brackets the number of answers."
    )
    figures = []
    for system in systems:
        found = count((row.label, row.answered, row.confidence) for row in rows if row.system == system)
        if found is not None:
            drawn = routing.as_svg(routing.draw(found), "Experts by structure", _INKS)
            figures.append(figure(drawn, f"{system}. {note}", "narrow wide"))
    return section("Experts", "routing", figures) if figures else None


def _wrong(rows: Sequence[Row], statuses: Mapping[str, Mapping[str, int]]) -> Element:
    lines = not_there(rows)
    if lines is None:
        return section("Missing and failed", "missed", el("p", "None."))
    return section("Missing and failed", "missed", el("p", f"{counted(statuses).capitalize()}."), lines)


def _how(result: Result) -> list[Element]:
    """Definitions and circumstances."""
    made = []
    if result.definitions:
        terms = [
            el(tag, words)
            for name, text in result.definitions.items()
            for tag, words in (("dt", name), ("dd", text))
        ]
        made.append(section("Definitions", "definitions", el("dl", terms)))
    facts: dict[str, Any] = {
        "command": _command(result.command),
        "protocol": result.protocol,
        "hardware": result.hardware,
        "versions": {"sam-moe (this page)": __version__, **result.versions},
        "seconds": result.seconds,
        "licence": result.challenge.get("licence"),
        "attribution": result.challenge.get("attribution"),
    }
    terms = [
        el(tag, words)
        for name, fact in facts.items()
        if fact
        for tag, words in (("dt", name), ("dd", _flat(fact)))
    ]
    how = section("How this was made", "how", el("dl", terms))
    if result.systems:
        keys = list(dict.fromkeys(key for one in result.systems.values() for key in one))
        body = [
            [el("th", name), *(el("td", _flat(one.get(key)), class_="text") for key in keys)]
            for name, one in result.systems.items()
        ]
        how.append(el("h3", "Systems"))
        how.append(table(["", *keys], body))
    if result.notes:
        how.append(el("h3", "Remarks"))
        how.append(el("ul", [el("li", note) for note in result.notes]))
    if result.challenge:
        text = yaml.safe_dump(result.challenge, sort_keys=False, allow_unicode=True, width=100)
        how.append(el("details", el("summary", "The challenge as it was run"), el("pre", text)))
    return [*made, how]


def _command(command: Any) -> str:
    return " ".join(str(word) for word in command) if isinstance(command, list) else str(command or "")


def _flat(fact: Any) -> str:
    """A value of a record on one line."""
    if isinstance(fact, Mapping):
        return " · ".join(f"{key}: {_flat(value)}" for key, value in fact.items())
    if isinstance(fact, list | tuple):
        return ", ".join(_flat(value) for value in fact)
    return "" if fact is None else str(fact)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
