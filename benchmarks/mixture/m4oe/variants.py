"""What experts and gates are worth: variants of one recipe, each trained for the same number of steps.

    python -m benchmarks.mixture.m4oe.variants [--recipe checkpoints/auto-small/recipe.yaml] [--steps 750]
                                    [--seeds 0 1] [--only hard dense …] [--out runs/variants] [--data FOLDER]

Needs the data folder (SAM_MOE_DATA). One training after another on one core, each in a folder of its own,
`OUT/RECIPE/VARIANT-SEED`, and each of them a model that `sam_moe.load` takes; started again it goes on with
the very next batch, and skips what is finished. All draw the same slices in the same order, but for
`only-SET`, which draws one set alone; `plain-timed` has the processor time of `hard` instead of its steps.
Early Dice is noise, as classes wake one after another: judge by the losses, and by no Dice before every class
has one. Dice is that of whole scans on their prepared grids, the data set given; of test patients for the
report, of validation patients for choices. `nats`: what the gates' choice knows of the modality of a test
slice, beside that of shuffled modalities. Writes benchmarks/results/mixture/m4oe_variants_RECIPE.json after
each training, and prints the table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cases import DATA, ROOT
from benchmarks.mixture.m4oe.recipes import described, names_of, variant
from benchmarks.mixture.m4oe.training import Record, trained
from sam_moe.config import load_settings
from sam_moe.files import make_folder, replace_text
from sam_moe.processes import use_threads
from sam_moe.progress import Progress
from sam_moe.systems.m4oe.train.settings import M4oERecipe

HARD, PLAIN, TIMED = "hard", "plain", "plain-timed"
RESULTS = ROOT / "benchmarks" / "results" / "mixture"


def main() -> None:
    """Train what is not finished, variant after variant, and print the table after each."""
    asked = options(__doc__ or "").parse_args()
    use_threads(1)
    base = read_base(asked.recipe, asked.data)
    names = asked.only or names_of(base)
    if unknown := sorted(set(names) - set(names_of(base))):
        raise SystemExit(f"unknown: {', '.join(unknown)}. Known: {', '.join(names_of(base))}.")
    id = base["card"]["id"]
    folder, records = asked.out / id, list[Record]()
    for seed in asked.seeds:
        for name in [*names, TIMED]:
            data = variant(base, name, asked.steps, seed) if name != TIMED else timed(base, records, seed)
            if data is None:
                continue
            run, show = folder / f"{name}-{seed}", shown(f"{name}, seed {seed}")
            records.append(trained(name, data, run, folder / "slices", show))
            save(records, asked.results / f"m4oe_variants_{id}.json")
            print("\n".join(table(records)), flush=True)
    print(json.dumps({"recipe": id, "steps": asked.steps, "trainings": len(records)}))


def timed(base: dict[str, Any], records: Sequence[Record], seed: int) -> dict[str, Any] | None:
    """The plain U-Net for the processor time of `hard`, by what both took; None before both are trained."""
    own = {record.name: record for record in records if record.seed == seed}
    if not {PLAIN, HARD} <= own.keys():
        return None
    hard, plain = own[HARD], own[PLAIN]
    steps = round(plain.steps * hard.processor_s / plain.processor_s)
    made = variant(base, PLAIN, max(1, steps), seed)
    made["card"]["id"] = f"{base['card']['id']}-{TIMED}-{seed}"
    return made


def options(about: str) -> argparse.ArgumentParser:
    """The options that trainings of variants have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "checkpoints" / "auto-small" / "recipe.yaml")
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants alone")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "variants")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of data sets")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where records are kept")
    return parser


def read_base(recipe: Path, data: Path) -> dict[str, Any]:
    """A recipe as plain data, checked, its paths whole."""
    found = load_settings(M4oERecipe, recipe, [f"data.folder={data.resolve()}"]).model_dump(mode="json")
    for each in found["data"]["sets"].values():
        for source in (*each["train"], *each["validation"]):
            if source.get("splits"):
                source["splits"] = str((ROOT / source["splits"]).resolve())
    return found


def shown(what: str) -> Progress:
    """A progress on the standard error."""

    def show(stage: str, share: float) -> None:
        print(f"\r{what}: {stage} {share:4.0%}   ", end="", file=sys.stderr, flush=True)

    return show


def save(records: Sequence[Record], path: Path) -> None:
    """Keep the records of all trainings so far."""
    make_folder(path.parent)
    replace_text(path, json.dumps([asdict(record) for record in records], indent=1) + "\n")


def table(records: Sequence[Record]) -> list[str]:
    """A line a training: steps, parameters, processor seconds, losses, and Dice of each set, both parts."""
    if not records:
        return []
    sets = sorted({name for r in records for name in r.test if "/" not in name and name != "score"})
    checkpoints = sorted({step for record in records for step in record.losses})
    head = ["variant", "seed", "parameters", "processor s", *(f"loss {step}" for step in checkpoints)]
    head += [f"{part} {name}" for part in ("validation", "test") for name in (*sets, "mean")]
    head += ["nats", "shuffled"]
    lines = [head]
    for record in records:
        losses = [_number(record.losses.get(step)) for step in checkpoints]
        dice = [
            _number(part.get(name)) for part in (record.validation, record.test) for name in (*sets, "score")
        ]
        size = f"{record.parameters / 1e6:.2f} M"
        lines.append(
            [
                record.name,
                str(record.seed),
                size,
                f"{record.processor_s:.0f}",
                *losses,
                *dice,
                _number(record.nats),
                _number(record.shuffled),
            ]
        )
    words = [f"{name}: {_words(name)}" for name in dict.fromkeys(record.name for record in records)]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines[1:])] + ["", *words]


def _words(name: str) -> str:
    return "`plain` for the processor time of `hard`" if name == TIMED else described(name)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
