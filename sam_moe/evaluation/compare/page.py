"""The page of a comparison: ranks by every rule, how sure they are, and the pairs that differ."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from sam_moe import __version__
from sam_moe.errors import FileError
from sam_moe.evaluation.compare.comparison import Comparison, Standing
from sam_moe.evaluation.compare.ranking import SCHEMES, Pair, Ranking
from sam_moe.evaluation.report.page import (
    colour,
    contents,
    el,
    figure,
    name_of,
    page,
    section,
    table,
)
from sam_moe.evaluation.report.svg import Scale, cut, line, picture, text, width_of
from sam_moe.evaluation.results import METRICS, answers_to
from sam_moe.evaluation.scoring.intervals import ABOUT
from sam_moe.files import replace_text

RECORD, PAGE = "comparison.json", "comparison.html"
_WIDTH, _STEP, _LARGEST = 480.0, 34.0, 14.0
_SURE = 0.05


def write_comparison(found: Comparison, folder: Path | str, command: Sequence[str] = ()) -> Path:
    """Write record and page into a folder, made where it is missing; returns where the page is.

    Raises:
        FileError: where they cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be made ({error.strerror}). Give another --out.") from error
    record = {**found.as_json(), "version": __version__, "command": list(command)}
    replace_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    replace_text(folder / PAGE, comparison_page(found, command))
    return folder / PAGE


def comparison_page(found: Comparison, command: Sequence[str] = ()) -> str:
    """The page as text."""
    title = f"{len(found.systems)} systems compared"
    size = f"{found.targets:,} targets of {found.patients:,} patients; by "
    size += " and ".join(METRICS[name].title for name in found.metrics) + "."
    times = len(found.standings[0].rankings[0].resampled)
    note = f"Patients were resampled {times:,} times, each with all their targets. " if times else ""
    note += "" if times else "With fewer than three patients nothing was resampled. "
    note += "Targets without a usable answer count with the worst values."
    sections = [
        *(_standing(standing, found.systems) for standing in found.standings),
        _rules(found),
        _sources(found, command),
    ]
    return page(
        title, el("h1", title), el("p", size), el("p", note, class_="faint"), contents(sections), sections
    )


def _standing(standing: Standing, systems: Sequence[str]) -> Element:
    drawn = []
    for ranking in standing.rankings:
        tau = ranking.tau
        words = ranking.scheme.title
        if tau is not None:
            words += f". Kendall's τ with the resampled rankings: {tau[0]:.2f} ({tau[1]:.2f}–{tau[2]:.2f})"
        drawn.append(figure(blobs(ranking, systems), f"{words}."))
    ranks = "Ranks by each rule; below them the score and the ranks that hold 95 % of the resamples."
    note = "A disc's area is the share of resamples in which a system had that rank, the line holds 95 % of "
    note += "them, the cross is the rank with all patients."
    return section(
        answers_to(standing.prompt),
        f"after-{standing.prompt}",
        el("p", ranks, class_="faint"),
        _ranks(standing, systems),
        el("p", note, class_="faint"),
        el("div", drawn, class_="grid"),
        el("h3", "Pairs"),
        _tests(standing.pairs, systems),
    )


def _ranks(standing: Standing, systems: Sequence[str]) -> Element:
    metrics = list(next(iter(standing.means.values())))
    head = ["system", *(ranking.scheme.title for ranking in standing.rankings)]
    head += [f"mean {METRICS[name].title}" for name in metrics]
    body = []
    for system in standing.rankings[0].best_first:
        cells = [el("th", name_of(system, systems))]
        for ranking in standing.rankings:
            at, interval = ranking.systems.index(system), ranking.interval(system)
            notes = [f"score {ranking.scores[at]:.3g}"]
            notes += [f"{interval[0]:g}–{interval[1]:g}"] if interval else []
            cells.append(el("td", f"{ranking.ranks[at]:g}", [el("small", one) for one in notes], class_="n"))
        for name in metrics:
            cells.append(el("td", f"{standing.means[system][name]:.{METRICS[name].digits}f}", class_="n"))
        missed = standing.missed[system]
        cells.append(el("td", el("span", str(missed), class_="bad" if missed else None), class_="n"))
        body.append(cells)
    return table([*head, "missed"], body)


def _tests(pairs: Sequence[Pair], systems: Sequence[str]) -> Element:
    """Every pair in every metric, the better one first, those that differ surely in bold."""
    body = []
    for pair in sorted(pairs, key=lambda pair: (pair.metric, pair.p_holm, pair.p)):
        metric = METRICS[pair.metric]
        turned = (pair.difference < 0) == metric.higher_is_better
        better, other = (pair.other, pair.one) if turned else (pair.one, pair.other)
        sure = "n best" if pair.p_holm < _SURE else "n"
        unit = f" {metric.unit}" if metric.unit else ""
        verb = "equal to" if pair.difference == 0 else "ahead of"
        body.append(
            [
                el("td", metric.title),
                el("td", name_of(better, systems)),
                el("td", verb, class_="faint"),
                el("td", name_of(other, systems)),
                el("td", f"{abs(pair.difference):.{metric.digits}f}{unit}", _note(pair), class_="n"),
                el("td", _p(pair.p), class_="n"),
                el("td", _p(pair.p_holm), class_=sure),
            ]
        )
    return table(["metric", "", "", "", "mean difference", "p", "p, Holm"], body)


def _note(pair: Pair) -> list[Element]:
    """The interval of the difference, from the better one's side; below 0 the other one is ahead."""
    if pair.ci95 is None:
        return []
    digits, sign = METRICS[pair.metric].digits, -1 if pair.difference < 0 else 1
    low, high = sorted(sign * edge for edge in pair.ci95)
    return [el("small", f"{low:.{digits}f} to {high:.{digits}f}")]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _rules(found: Comparison) -> Element:
    terms = [el(tag, words) for s in SCHEMES.values() for tag, words in (("dt", s.title), ("dd", s.text))]
    terms += [
        el("dt", "Ranks"),
        el("dd", "The least score is first; systems that tie all get the least of their ranks."),
        el("dt", "Kendall's τ"),
        el("dd", "τ-b between the ranking of all patients and that of each resample: mean, 2.5 and 97.5 %."),
        el("dt", "Pairs"),
        el(
            "dd",
            "Wilcoxon's signed-rank test, two-sided; a patient is one observation, the mean of the targets. "
            "Holm's correction over the pairs of one metric and prompt; bold: p below 0.05 after it. Below "
            f"each difference its interval. {ABOUT}",
        ),
    ]
    for name, words in found.definitions.items():
        terms += [el("dt", METRICS[name].title), el("dd", words)]
    return section("Rules and definitions", "rules", el("dl", terms))


def _sources(found: Comparison, command: Sequence[str]) -> Element:
    body = [
        [el("th", name_of(system, found.systems)), el("td", found.sources[system], class_="text")]
        for system in found.systems
    ]
    typed = [el("p", "Command: ", el("code", " ".join(command)))] if command else []
    version = el("p", f"sam-moe {__version__}", class_="faint")
    return section("How this was made", "how", table(["system", "result"], body), typed, version)


def blobs(ranking: Ranking, systems: Sequence[str]) -> Element:
    """How often each system had which rank: discs whose areas are shares of the resamples.

    After challengeR (Wiesenfarth et al., Scientific Reports 2021). Systems stand by rank.
    """
    count = len(ranking.systems)
    left = min(width_of(ranking.systems) + 14, 0.42 * _WIDTH)
    scale = Scale(1, max(count, 2), left + 22, _WIDTH - 22)
    radius = min(_LARGEST, 0.45 * (scale(2) - scale(1)))
    bottom = 10 + count * _STEP
    made = []
    for place in range(1, count + 1):
        made.append(line(scale(place), 6, scale(place), bottom, class_="rule"))
        made.append(text(scale(place), bottom + 15, str(place), "middle", "faint"))
    made.append(text((scale(1) + scale(max(count, 2))) / 2, bottom + 33, "rank", "middle", "faint"))
    for down, system in enumerate(ranking.best_first):
        y, ink = 10 + (down + 0.5) * _STEP, colour(systems.index(system))
        made.append(text(left - 8, y + 4, cut(system), "end"))
        interval = ranking.interval(system)
        if interval is not None:
            made.append(line(scale(interval[0]), y, scale(interval[1]), y, stroke=ink, stroke_width=1.5))
            made += _discs(system, ranking.frequencies(system), scale, y, radius, ink)
        x = scale(float(ranking.ranks[ranking.systems.index(system)]))
        made.append(
            el(
                "path",
                d=f"M{x - 5:.1f} {y:.1f}h10m-5 -5v10",
                stroke="var(--ink)",
                stroke_width=1.8,
                fill="none",
            )
        )
    return picture(_WIDTH, bottom + 42, f"{ranking.scheme.title}: ranks in the resamples", made)


def _discs(
    system: str, shares: Mapping[int, float], scale: Scale, y: float, radius: float, ink: str
) -> list[Element]:
    return [
        el(
            "circle",
            el("title", f"{system}: rank {place} in {share:.1%} of the resamples"),
            cx=scale(place),
            cy=y,
            r=max(radius * share**0.5, 1.2),
            fill=ink,
            fill_opacity=0.75,
        )
        for place, share in shares.items()
    ]
