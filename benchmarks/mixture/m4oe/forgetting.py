"""What is forgotten when a modality is added: a model of all other sets, then the last one's expert on it.

    python -m benchmarks.mixture.m4oe.forgetting [--steps 750] [--seeds 0 1] [--added hippocampus-mr]

Needs the data folder (SAM_MOE_DATA). Trains the recipe's phases without the added set, the first of them for
so many steps and the others shortened alike, then the phase `add-EXPERT` for as many; beside it all sets
together from the start. Prints Dice of every set before and after, routed by the gates, the head given, and
whether the old experts kept every bit. Goes on where it was stopped; options are those of
`benchmarks.mixture.m4oe.variants`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.mixture.m4oe.recipes import added_last, adding, shortened, without_last
from benchmarks.mixture.m4oe.training import Record, trained
from benchmarks.mixture.m4oe.variants import options, read_base, save, shown
from sam_moe.processes import use_threads
from sam_moe.weights.files import WEIGHTS, read_state

BEFORE, AFTER, TOGETHER = "before", "added", "together"


def main() -> None:
    """Train what is not finished, and print what each set has before and after."""
    parser = options(__doc__ or "")
    parser.add_argument("--added", metavar="SET", help="the set that comes later; by default the last")
    asked = parser.parse_args()
    use_threads(1)
    base = read_base(asked.recipe, asked.data)
    added = asked.added or base["sets"][-1]["id"]
    if added not in [each["id"] for each in base["sets"]]:
        raise SystemExit(f"{added!r} is no set: {', '.join(each['id'] for each in base['sets'])}")
    if len(base["mixture"]["experts"]) < 3:
        raise SystemExit(
            "expected three experts or more: without two the model has no gate to add a third to."
        )
    id = base["card"]["id"]
    folder, records = asked.out / id / f"adding-{added}", list[Record]()
    for seed in asked.seeds:
        whole = shortened({**added_last(base, added), "seed": seed}, asked.steps)
        start = folder / f"{BEFORE}-{seed}"
        last = adding(base_of(whole, AFTER), str(start), asked.steps)
        for name, data in (
            (BEFORE, base_of(without_last(whole), BEFORE)),
            (AFTER, last),
            (TOGETHER, base_of(whole, TOGETHER)),
        ):
            shared = folder / ("slices-before" if name == BEFORE else "slices") / "slices"
            show = shown(f"{name}, seed {seed}")
            records.append(trained(name, data, folder / f"{name}-{seed}", shared, show))
        save(records, asked.results / f"m4oe_forgetting_{id}.json")
        changed = changed_tensors(start, folder / f"{AFTER}-{seed}")
        print("\n".join(table(records, seed, added)))
        print(f"old tensors that differ after adding: {len(changed)} {', '.join(changed[:3])}")
    print(json.dumps({"recipe": id, "added": added, "seeds": list(asked.seeds)}))


def base_of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A recipe with an id of its own."""
    card = data["card"]
    return {**data, "card": {**card, "id": f"{card['id']}-{name}"}}


def changed_tensors(start: Path, added: Path) -> list[str]:
    """The tensors of a model that are not the same, to the bit, in the one that was made of it."""
    before, after = read_state(start / WEIGHTS), read_state(added / WEIGHTS)
    return sorted(
        name
        for name, tensor in before.items()
        if not name.startswith("reference.") and not (name in after and torch.equal(tensor, after[name]))
    )


def table(records: list[Record], seed: int, added: str) -> list[str]:
    """Test Dice of each set before and after, and of all sets trained together."""
    own = {record.name: record.test for record in records if record.seed == seed}
    sets = [name for name in own[TOGETHER] if "/" not in name and name != "score"]
    lines = [f"seed {seed}: test Dice, {added} added last", "| set | before | after | change | together |"]
    lines.append("|---|---|---|---|---|")
    for name in sets:
        before, after = own[BEFORE].get(name), own[AFTER][name]
        change = "–" if before is None else f"{after - before:+.3f}"
        first = "–" if before is None else f"{before:.3f}"
        lines.append(f"| {name} | {first} | {after:.3f} | {change} | {own[TOGETHER][name]:.3f} |")
    return lines


if __name__ == "__main__":
    main()
