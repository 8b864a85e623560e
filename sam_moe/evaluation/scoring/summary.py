"""Rows in figures: mean, spread and interval of every metric, for all targets, each structure, each group."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from sam_moe.evaluation.results import METRICS, Row
from sam_moe.evaluation.scoring.intervals import AMOUNT, SHARE, Bounds, interval
from sam_moe.shapes import Float

OFFICIAL = "official."
VOLUME = "volume"
_THIRDS = 3
_LEAST_FOR_THIRDS = 9


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of every system and prompt, as strict JSON: none where there is no figure.

    `all`, `labels` by structure and `strata` by group hold `{system: {prompt: {metric: figures}}}`; the
    targets' volumes, in thirds, are a group too. A mean is one over targets, that is structures of cases;
    `ci95` is `intervals.interval` over patients. A target without a usable answer counts with the worst
    values and is in `n_missed`; only metrics by the challenge's own definition, `official.dice`, leave out
    what those leave out; `n` counts the others. `statuses` counts the rows of each status, and extra files.
    """
    kept = [row for row in rows if row.counts]
    sized = [row for row in kept if row.truth_ml is not None]
    volumes = thirds([row.truth_ml or 0.0 for row in sized])

    def figures(chosen: Sequence[Row]) -> dict[str, Any]:
        return _grouped(chosen, lambda row: row.system, _by_prompt)

    def strata(name: str) -> dict[str, Any]:
        own = [row for row in kept if name in row.strata]
        return _grouped(own, lambda row: row.strata[name], figures)

    by_group = {name: strata(name) for name in sorted({name for row in kept for name in row.strata})}
    if volumes is not None and VOLUME not in by_group:
        smallest_first = sorted(sized, key=lambda row: row.truth_ml or 0.0)
        by_group[VOLUME] = _grouped(smallest_first, lambda row: volumes(row.truth_ml or 0.0), figures)
    return {
        "all": figures(kept),
        "labels": _grouped(kept, lambda row: row.label, figures),
        "strata": by_group,
        "statuses": _grouped(rows, lambda row: row.system, lambda own: dict(Counter(r.status for r in own))),
    }


def figures_of(
    values: Float[np.ndarray, " rows"], owners: Sequence[str], bounds: Bounds
) -> dict[str, float | int | list[float] | None]:
    """Mean, median, standard deviation (n - 1), quartiles (linear between ranks) and interval of values."""
    found = interval(values, owners, bounds)
    first, third = np.percentile(values, (25, 75)).tolist()
    spread = values.std(ddof=1) if len(values) > 1 else None
    return {
        "mean": _short(values.mean()),
        "median": _short(np.median(values)),
        "sd": None if spread is None else _short(spread),
        "iqr": [_short(first), _short(third)],
        "n": len(values),
        "ci95": None if found is None else [_short(edge) for edge in found],
    }


def _short(value: float) -> float:
    """Six decimals: of shares and millimetres more would only make the record long."""
    return round(float(value), 6)


def thirds(volumes_ml: Sequence[float]) -> Callable[[float], str] | None:
    """Names the third of the targets' volumes that a target is in; None for too few."""
    if len(set(volumes_ml)) < _LEAST_FOR_THIRDS:
        return None
    edges = np.percentile(sorted(set(volumes_ml)), np.linspace(0, 100, _THIRDS + 1)[1:-1]).tolist()
    low, high = (f"{edge:.3g}" for edge in edges)
    names = (f"up to {low} ml", f"{low} to {high} ml", f"above {high} ml")
    return lambda volume: names[int(np.searchsorted(edges, volume))]


def prompts_of(rows: Iterable[Row]) -> list[str]:
    """The prompts of rows in the order of the protocol."""
    first: dict[str, int] = {}
    for row in rows:
        first[row.prompt] = min(row.step, first.get(row.prompt, row.step))
    return sorted(first, key=lambda prompt: (first[prompt], prompt))


def chains_of(prompts: Sequence[str]) -> list[list[str]]:
    """Prompts that continue each other: click1 to click5, or box and then box+click1 to box+click5."""
    chains: list[list[str]] = []
    by_stem: dict[str, list[str]] = {}
    for prompt in prompts:
        stem = prompt.rstrip("0123456789")
        start = stem.rpartition("+")[0]
        if stem not in by_stem:
            if by_stem.get(start) == [start]:
                by_stem[stem] = by_stem.pop(start)
            else:
                chains.append(by_stem.setdefault(stem, []))
        by_stem[stem].append(prompt)
    return chains


def main_prompts(prompts: Sequence[str]) -> list[str]:
    """The first and the last of prompts that continue each other, which is what a table has room for."""
    return [end for chain in chains_of(prompts) for end in dict.fromkeys((chain[0], chain[-1]))]


def final_prompt(prompts: Sequence[str]) -> str:
    """The last prompt of the longest chain, of equally long ones the last one's."""
    chains = chains_of(prompts)
    longest = max(len(chain) for chain in chains)
    return next(chain[-1] for chain in reversed(chains) if len(chain) == longest)


def _by_prompt(rows: Sequence[Row]) -> dict[str, Any]:
    return {prompt: _metrics([row for row in rows if row.prompt == prompt]) for prompt in prompts_of(rows)}


def _metrics(rows: Sequence[Row]) -> dict[str, Any]:
    missed = sum(row.missed for row in rows)
    found = {name: _column(name, [getattr(row, name) for row in rows], rows, missed) for name in METRICS}
    for name in METRICS:
        own = [row for row in rows if name in row.official]
        if own:
            found[OFFICIAL + name] = _column(name, [row.official[name] for row in own], own, missed)
    return found


def _column(name: str, values: Sequence[float | None], rows: Sequence[Row], missed: int) -> dict[str, Any]:
    kept = [(value, row.patient) for value, row in zip(values, rows, strict=True) if value is not None]
    if not kept:
        none = dict.fromkeys(("mean", "median", "sd", "iqr", "ci95"))
        return {**none, "n": 0, "n_missed": missed}
    bounds = AMOUNT if METRICS[name].unit else SHARE
    column = figures_of(np.array([value for value, _ in kept]), [owner for _, owner in kept], bounds)
    return {**column, "n_missed": missed}


def _grouped(
    rows: Sequence[Row], key: Callable[[Row], str], made: Callable[[Sequence[Row]], dict[str, Any]]
) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: made(own) for name, own in groups.items()}
