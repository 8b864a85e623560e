"""How `sam-moe evaluate` shows what came of it: a line a system and prompt."""

from collections import Counter
from typing import Any

from sam_moe.evaluation.results import ResultFolder
from sam_moe.evaluation.scoring.summary import main_prompts, prompts_of


def table(done: ResultFolder) -> str:
    """Means with their intervals over patients, of the first and the last step of each protocol."""
    rows = [row for row in done.rows if row.counts]
    targets = {(row.case, row.label) for row in rows}
    lines = [
        f"{len(targets)} targets of {len({row.case for row in rows})} cases, "
        f"{len({row.patient for row in rows})} patients; means, 95 % intervals over patients"
    ]
    shown = main_prompts(prompts_of(rows))
    summary: dict[str, Any] = dict(done.result.summary["all"])  # type: ignore[arg-type]
    wide = max((len(system) for system in summary), default=0)
    lines.append(f"{'':<{wide}}  {'prompt':<11}  {'Dice':<17}  {'NSD':<5}  {'HD95':>7}  missed")
    for system, prompts in summary.items():
        for prompt in shown:
            if prompt in prompts:
                lines.append(f"{system:<{wide}}  {prompt:<11}  {_figures(prompts[prompt])}")
    statuses = Counter(row.status for row in done.rows if row.status != "ok")
    if statuses:
        lines.append("; ".join(_counted(status, count) for status, count in statuses.items()))
    return "\n".join([*lines, *done.result.notes])


def _counted(status: str, count: int) -> str:
    """`empty: 2 answers`; an extra file is no answer."""
    return f"{status}: {count} {'file' if status == 'extra' else 'answer'}{'s' * (count != 1)}"


def _figures(metrics: dict[str, Any]) -> str:
    dice = metrics["dice"]
    interval = "({:.2f}–{:.2f})".format(*dice["ci95"]) if dice["ci95"] else ""
    text = f"{dice['mean']:.3f} {interval}"
    missed = f"{dice['n_missed']} of {dice['n']}"
    return f"{text:<17}  {metrics['nsd']['mean']:.3f}  {metrics['hd95_mm']['mean']:>4.1f} mm  {missed}"
