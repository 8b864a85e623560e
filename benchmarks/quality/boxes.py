"""Which way to lower a box is best with given weights: Dice of each strategy on the validation cases.

    python -m benchmarks.quality.boxes [--model small] [--part validation]

The last line is one JSON object with the mean Dice of each strategy. The default in a backbone's card is
chosen from this, on validation cases; test cases are for `benchmarks/quality/weights.py` alone.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from statistics import mean

import numpy as np

import sam_moe
from benchmarks.cases import general_cases
from sam_moe.prompts.simulate import box_around


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--part", default="validation", choices=("validation", "train"))
    parser.add_argument(
        "--jitter", type=float, default=0.05, help="faces moved by up to this share of the edge"
    )
    asked = parser.parse_args()
    ways = {
        f"{strategy}{' refined' if whole else ''}": replace(
            sam_moe.load(asked.model, box_strategy=strategy), whole_targets=whole
        )
        for strategy in ("center", "mask", "corners")
        for whole in (False, True)
    }
    rng = np.random.default_rng(0)
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in general_cases(asked.part):
        box = box_around(case.truth.array.numpy(), rng, jitter=asked.jitter)
        for name, model in ways.items():
            scores[case.structure][name].append(model.open(case.scan).predict(box).dice(case.truth))
    print(f"{'structure':28}{'cases':>6}" + "".join(f"{name:>17}" for name in ways))
    for structure, by_way in sorted(scores.items()):
        cells = "".join(f"{mean(by_way[name]):17.3f}" for name in ways)
        print(f"{structure:28}{len(next(iter(by_way.values()))):6}{cells}")
    means = {name: mean(mean(by_way[name]) for by_way in scores.values()) for name in ways}
    print(f"{'mean over structures':34}" + "".join(f"{value:17.3f}" for value in means.values()))
    print(json.dumps({name.replace(" ", "_"): round(value, 4) for name, value in means.items()}))


if __name__ == "__main__":
    main()
