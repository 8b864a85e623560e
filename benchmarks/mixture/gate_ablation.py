"""What a gate's settings are worth, on validation prompts.

    python -m benchmarks.mixture.gate_ablation RECIPE.yaml [--set A.B=C ...]

The first call asks all experts and keeps tables and answers in the recipe's run folder (with --set run=FOLDER
in one of its own); later ones take minutes.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from sam_moe.config import load_settings
from sam_moe.moe.fusion import fuse
from sam_moe.moe.gate import parameter_share
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import confidence_of
from sam_moe.processes import use_threads
from sam_moe.progress import silent
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import (
    Objective,
    Tables,
    fit_gate,
    fresh_gate,
    logits_of,
)
from sam_moe.systems.sam_med3d_moe.train_gate.members import load_members
from sam_moe.systems.sam_med3d_moe.train_gate.scans import make_table, read_table
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
from sam_moe.systems.sam_med3d_moe.train_gate.table import low_dice
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import choose, curve
from sam_moe.training.engine.loop import Run

COLUMNS = (
    "variant",
    "threshold",
    "owner %",
    "specialised",
    "gain",
    "general",
    "loss",
    "unlabelled kept",
    "s",
)


def trained(recipe, team, train, validation, **changes):
    """A gate by the recipe with changes, its validation logits, and the seconds its training took."""
    chosen = recipe.model_copy(update=changes)
    model, columns = team.decoders.model, len(team.refs)
    gate = fresh_gate(model.sizes.out_channels, columns, chosen.hidden, chosen.mode, chosen.seed)
    objective = Objective(chosen.target, chosen.balance, chosen.fusion, chosen.noise)
    schedule = chosen.schedule.schedule()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = fit_gate(
            gate, Tables(train, validation), objective, schedule, Run(Path(folder), chosen.seed + 1),
            chosen.validate_every,
        )  # fmt: skip
    gate.load_state_dict(kept.weights)
    share = parameter_share(gate, model)
    return logits_of(gate, validation), time.monotonic() - began, share


def figures(table, chosen, scores, general):
    """Routing to the owner; Dice of specialised and general rows and its change; places left alone."""
    special, plain = table.owner > 0, (table.owner == 0) & table.labelled

    def mean(values, rows):
        parts = [values[rows & (table.structure == n)] for n in table.structure[rows].unique()]
        return float(torch.stack([part.mean() for part in parts]).mean())

    right = (chosen == table.owner).float()
    return (
        f"{100 * mean(right, special | plain):.1f}",
        f"{mean(scores, special):.4f}",
        f"{mean(scores - general, special):+.4f}",
        f"{mean(scores, plain):.4f}",
        f"{-mean(scores - general, plain):+.4f}",
        f"{100 * float((chosen == 0)[~table.labelled].float().mean()):.1f}%",
    )


def routed(table, logits, rule):
    chosen = rule.select(confidence_of(logits)).experts[:, 0]
    return figures(table, chosen, table.scores.gather(1, chosen[:, None])[:, 0], table.scores[:, 0])


def fused(table, logits, rule, how):
    """Several experts' answers joined; all at the resolution at which they are kept."""
    chosen = rule.select(confidence_of(logits))
    scores, general = [], []
    for start in range(0, len(table), 256):
        rows = slice(start, start + 256)
        answers, target = table.answers[rows].float(), table.targets[rows].float()
        experts = chosen.experts[rows]
        picked = answers.gather(1, experts[..., None, None, None].expand(-1, -1, *answers.shape[2:]))
        both = torch.stack([fuse(picked, chosen.weights[rows], how), answers[:, 0]], dim=1)
        dice = low_dice(both, target)
        scores.append(dice[:, 0])
        general.append(dice[:, 1])
    return figures(table, chosen.experts[:, 0], torch.cat(scores), torch.cat(general))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    asked = parser.parse_args()
    use_threads(1)
    recipe = load_settings(GateRecipe, asked.recipe, asked.set)
    recipe.run.mkdir(parents=True, exist_ok=True)
    team = load_members(recipe.base, [expert.expert for expert in recipe.experts])
    whole = recipe.model_copy(update={"target": "fused"})
    for part in ("train", "validation"):
        make_table(whole, team, part, Threshold(), silent)
    train, validation = (read_table(whole, part) for part in ("train", "validation"))
    plain = replace(train, answers=None, targets=None)
    rows = []

    def add(name, logits, seconds, tau=None):
        tau = (
            choose(curve(confidence_of(logits), validation), recipe.most_drop).threshold
            if tau is None
            else tau
        )
        rows.append((name, f"{tau:g}", *routed(validation, logits, Threshold(tau)), f"{seconds:.0f}"))
        return tau

    logits, seconds, share = trained(recipe, team, plain, validation, target="owner")
    tau = add(f"target owner, both, hidden {recipe.hidden} ({share:.2%} of the backbone)", logits, seconds)
    for target in ("best", "fused"):
        other, seconds, _ = trained(recipe, team, train, validation, target=target)
        add(f"target {target}", other, seconds)
    for balance in (0.01, 0.1):
        other, seconds, _ = trained(recipe, team, plain, validation, target="owner", balance=balance)
        add(f"balance term {balance}", other, seconds)
    for noise in (0.0, 0.3, 1.0):
        if noise != recipe.noise:
            other, seconds, _ = trained(recipe, team, plain, validation, target="owner", noise=noise)
            add(f"noise {noise}", other, seconds)
    for mode in ("image", "prompt"):
        other, seconds, _ = trained(recipe, team, plain, validation, target="owner", mode=mode)
        add(f"sees {mode} only", other, seconds)
    for hidden in (8, 16, 64):
        other, seconds, share = trained(recipe, team, plain, validation, target="owner", hidden=hidden)
        add(f"hidden {hidden} ({share:.2%})", other, seconds)
    for fixed in (0.3, 0.5, 0.7, 0.9):
        add(f"threshold fixed at {fixed}", logits, 0, fixed)
    rows.append(("argmax", "", *routed(validation, logits, Argmax()), ""))
    rows.append(("general alone", "", *routed(validation, logits, Forced(0)), ""))
    owner = F.one_hot(validation.owner, len(team.refs)).float() * 100
    rows.append(("by the true task", "", *routed(validation, owner, Argmax()), ""))
    best = validation.scores.nan_to_num(-1) * 1e4
    rows.append(("the best expert of each prompt", "", *routed(validation, best, Argmax()), ""))
    for how in ("logits", "probabilities"):
        for name, rule in (("k = 1", TopK(1)), ("k = 2", TopK(2)), ("k = 3", TopK(3)), ("dense", Dense())):
            found = fused(validation, logits, rule, how)
            rows.append((f"{name}, {how} (answers of {validation.answers.shape[-1]}³)", "", *found, ""))
    found = fused(validation, logits, Threshold(tau), "logits")
    rows.append((f"threshold (answers of {validation.answers.shape[-1]}³)", f"{tau:g}", *found, ""))
    widths = [max(len(row[n]) for row in [COLUMNS, *rows]) for n in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
    print(
        f"\n{len(train):,} training and {len(validation):,} validation prompts; means over structures. "
        "gain and loss: Dice against\nthe general expert; owner: labelled prompts that their owner answers."
    )


if __name__ == "__main__":
    main()
