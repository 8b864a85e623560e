"""What fewer or coarser encodings cost in Dice on validation cases: shared regions, and bf16.

    python -m benchmarks.quality.fewer_encodings [--model small] [--cases 8]

Every structure of a case is a target, asked by a click (the deepest voxel) or a box (the label's, faces moved
by up to 5 %); all of a scan at once, as `predict_targets` does. Each row is held against regions of each
target's own in fp32. The last line is one JSON object.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

import sam_moe
from benchmarks.cases import Case, general_cases
from benchmarks.quality.protocol import JITTER
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.predict.regions.sharing import Sharing
from sam_moe.prompts import Prompt
from sam_moe.prompts.simulate import box_around, centre_point

SETTINGS = {
    "own regions": None,
    "zoom 1.25, shift 0.1": Sharing(1.25, 0.1),
    "zoom 1.25, shift 0.2": Sharing(1.25, 0.2),
    "zoom 1.5, shift 0.2": Sharing(1.5, 0.2),
    "zoom 1.5, shift 0.3": Sharing(1.5, 0.3),
    "zoom 2.0, shift 0.4": Sharing(2.0, 0.4),
    "own regions, bf16": None,
}


def asked(cases: list[Case], how: str, seed: int) -> dict[str, Prompt]:
    """One prompt a structure."""
    rng, found = np.random.default_rng(seed), {}
    for case in cases:
        truth = case.truth.array.numpy()
        if how == "box":
            found[case.structure] = Prompt((box_around(truth, rng=rng, jitter=JITTER),))
        else:
            found[case.structure] = Prompt((centre_point(truth, case.scan.grid.spacing_mm),))
    return found


def answered(model: Model, cases: list[Case], prompts: Mapping[str, Prompt]) -> tuple[list[float], int]:
    """Dice of each target, overlaps between them not counted, and how many regions were encoded."""
    cache = EmbeddingCache()
    found = model.open(cases[0].scan, cache=cache).predict_targets(prompts).predictions
    return [found[case.structure].dice(case.truth) for case in cases], len(cache)


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--cases", type=int, default=8, help="of each set")
    options = parser.parse_args()
    model = sam_moe.load(options.model)
    dice: dict[tuple[str, str], list[float]] = defaultdict(list)
    encoded: dict[tuple[str, str], int] = defaultdict(int)
    taken: dict[str, int] = defaultdict(int)
    for (name, _), group in groupby(general_cases("validation"), lambda case: (case.set, case.case)):
        cases = list(group)
        taken[name] += 1
        if taken[name] > options.cases or len(cases) < 2:
            continue
        for how in ("click", "box"):
            prompts = asked(cases, how, taken[name])
            for setting, sharing in SETTINGS.items():
                dtype = torch.bfloat16 if "bf16" in setting else torch.float32
                scores, count = answered(replace(model, sharing=sharing, dtype=dtype), cases, prompts)
                dice[how, setting] += scores
                encoded[how, setting] += count
    print(f"{options.model}; validation cases: {dict(taken)}, of each set at most {options.cases}\n")
    print(f"{'':6}{'':22}{'targets':>8}{'encodings':>10}{'Dice':>7}{'change':>8}{'least':>8}")
    figures = {}
    for (how, setting), scores in dice.items():
        change = np.array(scores) - np.array(dice[how, "own regions"])
        row = [
            len(scores),
            encoded[how, setting],
            float(np.mean(scores)),
            float(change.mean()),
            float(change.min()),
        ]
        print(f"{how:6}{setting:22}{row[0]:8}{row[1]:10}{row[2]:7.3f}{row[3]:+8.4f}{row[4]:+8.3f}")
        figures[f"{how}, {setting}"] = [round(number, 4) for number in row]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
