"""Results compared: the same targets, the same prompts, the same truth, or a refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_moe.config import nearest_first
from sam_moe.errors import ConfigError
from sam_moe.evaluation.compare.ranking import SCHEMES, Pair, Ranking, compared, rank
from sam_moe.evaluation.results import METRICS, UNPROMPTED, ResultFolder, Row, answers_to
from sam_moe.evaluation.scoring.bootstrap import RESAMPLES, Patients
from sam_moe.evaluation.scoring.intervals import DIFFERENCE, UNBOUNDED
from sam_moe.evaluation.scoring.known import check_known, ml_words, same_volume
from sam_moe.evaluation.scoring.summary import main_prompts, prompts_of
from sam_moe.shapes import Float

DEFAULT_METRICS = ("dice", "nsd")
_NAMED = 3

Target = tuple[str, str]  # case, structure


@dataclass(frozen=True)
class Standing:
    """How systems stand after one prompt: a ranking by each rule, and every pair in every metric."""

    prompt: str
    rankings: tuple[Ranking, ...]
    pairs: tuple[Pair, ...]
    means: Mapping[str, Mapping[str, float]]  # by system and metric
    missed: Mapping[str, int]


@dataclass(frozen=True)
class Comparison:
    """Systems of one or several results, ranked after each prompt."""

    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    targets: int
    patients: int
    standings: tuple[Standing, ...]
    definitions: Mapping[str, str]
    sources: Mapping[str, str]  # the folder of each system

    def as_json(self) -> dict[str, Any]:
        """All of it as strict JSON, the resamples as intervals and frequencies."""
        return {
            "format": 1,
            "metrics": list(self.metrics),
            "targets": self.targets,
            "patients": self.patients,
            "sources": dict(self.sources),
            "definitions": dict(self.definitions),
            "rules": {name: scheme.text for name, scheme in SCHEMES.items()},
            "prompts": {standing.prompt: _as_json(standing) for standing in self.standings},
        }

    def __str__(self) -> str:
        return "\n\n".join(_as_text(standing) for standing in self.standings)


def compare(
    folders: Sequence[ResultFolder],
    metrics: Sequence[str] = DEFAULT_METRICS,
    prompts: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
    only: Sequence[str] = (),
) -> Comparison:
    """Rank the systems of some results, or `only` some of them, by every rule, after each of the prompts.

    Without `prompts` those are taken that begin or end a chain of prompts. Where prompts are given, masks
    made elsewhere (`given`) and automatic ones stand for themselves: they answer without one. Missing answers
    count with the worst values.

    Raises:
        ConfigError: for fewer than two systems, or such as differ in prompts or targets.
    """
    for name in metrics:
        if name not in METRICS:
            near = nearest_first(name, METRICS)
            raise ConfigError(
                f"metric '{name}' is not known; did you mean '{near[0]}'? Known: {', '.join(near)}."
            )
    rows, sources = _systems(folders, only)
    definitions = _definitions(folders, metrics)
    chosen = list(prompts) or _shared_prompts(rows)
    tables = {
        prompt: {s: _table(s, own, prompt, bool(prompts)) for s, own in rows.items()} for prompt in chosen
    }
    for prompt, table in tables.items():
        _check_alike(table, prompt)
        check_known((row for own in table.values() for row in own.values()), metrics)
    first = next(iter(tables[chosen[0]].values()))
    patients = Patients([row.patient for row in first.values()], resamples, seed)
    standings = tuple(_standing(prompt, table, metrics, patients) for prompt, table in tables.items())
    return Comparison(
        tuple(rows), tuple(metrics), len(first), len(patients.names), standings, definitions, sources
    )


def _systems(
    folders: Sequence[ResultFolder], only: Sequence[str]
) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The rows of each system and where they come from; a name met twice gets its folder's behind it."""
    found = [
        (system, folder, [row for row in folder.rows if row.counts and row.system == system])
        for folder in folders
        for system in dict.fromkeys(row.system for row in folder.rows if row.counts)
    ]
    names = [system for system, _, _ in found]
    rows: dict[str, list[Row]] = {}
    sources: dict[str, str] = {}
    for system, folder, own in found:
        name = system if names.count(system) == 1 else f"{system} ({folder.path.resolve().name})"
        if name in rows:
            name = f"{system} ({folder.path})"
        if name in rows:
            raise ConfigError(f"{folder.path}: given twice. Give each result once.")
        rows[name], sources[name] = own, str(folder.path)
    unknown = [name for name in only if name not in rows]
    if unknown:
        raise ConfigError(f"no system '{unknown[0]}' in these results. Expected some of: {', '.join(rows)}.")
    if only:
        rows, sources = {name: rows[name] for name in only}, {name: sources[name] for name in only}
    if len(rows) < 2:
        raise ConfigError(
            f"only {' and '.join(rows) or 'no system'} to compare. Give two systems or more, in one "
            "folder or in several."
        )
    return rows, sources


def _definitions(folders: Sequence[ResultFolder], metrics: Sequence[str]) -> dict[str, str]:
    """What the metrics mean, the same in all results."""
    known: dict[str, tuple[str, ResultFolder]] = {}
    for folder in folders:
        for name in metrics:
            text = folder.result.definitions.get(name)
            if text is None:
                continue
            before, other = known.setdefault(name, (text, folder))
            if text != before:
                raise ConfigError(
                    f"{name} is not the same in {other.path} and {folder.path}: '{before}' and '{text}'. "
                    "Evaluate both by one definition, or compare by other metrics (--metric)."
                )
    return {name: text for name, (text, _) in known.items()}


def _shared_prompts(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """What begins or ends a chain of the prompts, which must be the same for all systems."""
    prompts = {system: prompts_of(own) for system, own in rows.items()}
    first, *others = prompts
    for other in others:
        if set(prompts[other]) != set(prompts[first]):
            raise ConfigError(
                f"{first} and {other} were not asked alike: {', '.join(prompts[first])} and "
                f"{', '.join(prompts[other])}. Choose the prompt to compare after (--prompt NAME; answers "
                f"without a prompt, {' and '.join(UNPROMPTED)}, can stand beside any), and which systems, "
                "where not all were asked it (--system NAME)."
            )
    return main_prompts(prompts[first])


def _table(system: str, rows: Sequence[Row], prompt: str, chosen: bool) -> dict[Target, Row]:
    """A system's row for each target after a prompt."""
    own = [row for row in rows if row.prompt == prompt]
    if not own and chosen:
        own = [row for row in rows if row.prompt in UNPROMPTED]
    if not own:
        raise ConfigError(
            f"{system} was not asked '{prompt}', only {', '.join(prompts_of(rows))}. Choose a --prompt that "
            "all were asked, or by --system those that were."
        )
    found: dict[Target, Row] = {}
    for row in own:
        if (row.case, row.label) in found:
            raise ConfigError(
                f"{system} has two answers to '{prompt}' about {row.label} in {row.case}. Expected one; "
                "remove the other from rows.csv."
            )
        found[row.case, row.label] = row
    return found


def _check_alike(table: Mapping[str, Mapping[Target, Row]], prompt: str) -> None:
    """Refuse systems of other targets, or scored against another truth."""
    first, *others = table
    for other in others:
        only_first, only_other = (
            [target for target in table[one] if target not in table[two]]
            for one, two in ((first, other), (other, first))
        )
        if only_first or only_other:
            lacks = [
                f"only {name} has {_some(targets)}"
                for name, targets in ((first, only_first), (other, only_other))
                if targets
            ]
            raise ConfigError(
                f"{first} and {other} were not asked about the same targets (after '{prompt}'): "
                f"{'; '.join(lacks)}. Evaluate both on the same challenge; what a system lacks must be a row "
                "with the status missing."
            )
        for target, row in table[first].items():
            twin = table[other][target]
            if not same_volume(row.truth_ml, twin.truth_ml):
                raise ConfigError(
                    f"{target[1]} in {target[0]} has {ml_words(row.truth_ml)} in the truth of {first} and "
                    f"{ml_words(twin.truth_ml)} in that of {other}. Evaluate both against the same labels."
                )
            if row.patient != twin.patient:
                raise ConfigError(
                    f"{target[0]} is of patient '{row.patient}' in the result of {first} and of "
                    f"'{twin.patient}' in that of {other}. Evaluate both on the same challenge."
                )


def _some(targets: Sequence[Target]) -> str:
    named = ", ".join(f"{label} in {case}" for case, label in targets[:_NAMED])
    return named + (f" and {len(targets) - _NAMED} more" if len(targets) > _NAMED else "")


def _standing(
    prompt: str, table: Mapping[str, Mapping[Target, Row]], metrics: Sequence[str], patients: Patients
) -> Standing:
    systems, targets = tuple(table), list(next(iter(table.values())))
    owners = [next(iter(table.values()))[target].patient for target in targets]
    plain = np.array([[[getattr(table[s][t], m) for t in targets] for s in systems] for m in metrics])
    signs = np.array([1.0 if METRICS[name].higher_is_better else -1.0 for name in metrics])
    values: Float[np.ndarray, "metrics systems targets"] = plain * signs[:, None, None]
    bounds = [UNBOUNDED if METRICS[name].unit else DIFFERENCE for name in metrics]
    each = zip(metrics, plain, bounds, strict=True)
    pairs = [pair for name, own, of in each for pair in compared(name, own, systems, owners, of)]
    return Standing(
        prompt,
        tuple(rank(values, systems, owners, scheme, patients) for scheme in SCHEMES.values()),
        tuple(pairs),
        {s: {m: float(plain[j, i].mean()) for j, m in enumerate(metrics)} for i, s in enumerate(systems)},
        {system: sum(row.missed for row in table[system].values()) for system in systems},
    )


def _as_json(standing: Standing) -> dict[str, Any]:
    rankings = {}
    for ranking in standing.rankings:
        tau = ranking.tau
        rankings[ranking.scheme.name] = {
            "kendall_tau": None if tau is None else {"mean": tau[0], "ci95": [tau[1], tau[2]]},
            "systems": {
                system: {
                    "rank": int(ranking.ranks[at]),
                    "score": float(ranking.scores[at]),
                    "rank_ci95": ranking.interval(system),
                    "rank_frequencies": ranking.frequencies(system),
                }
                for at, system in enumerate(ranking.systems)
            },
        }
    return {
        "means": {system: dict(own) for system, own in standing.means.items()},
        "missed": dict(standing.missed),
        "rankings": rankings,
        "wilcoxon": [vars(pair) for pair in standing.pairs],
    }


def _as_text(standing: Standing) -> str:
    """A table for a terminal: systems by the first rule, their ranks by every rule, their means."""
    first = standing.rankings[0]
    metrics = list(next(iter(standing.means.values())))
    head = [
        answers_to(standing.prompt),
        *(r.scheme.name for r in standing.rankings),
        *metrics,
        "missed",
    ]
    lines = [head]
    for system in first.best_first:
        at = first.systems.index(system)
        ranks = [f"{int(ranking.ranks[at])}" for ranking in standing.rankings]
        means = [f"{standing.means[system][name]:.{METRICS[name].digits}f}" for name in metrics]
        lines.append([system, *ranks, *means, str(standing.missed[system])])
    taus = ["–" if r.tau is None else f"{r.tau[0]:.2f}" for r in standing.rankings]
    lines.append(["Kendall's tau", *taus, *("" for _ in metrics), ""])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
