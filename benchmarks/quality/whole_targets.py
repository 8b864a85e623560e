"""Targets larger than a region: Dice with the region alone and with zooming out and refining.

    python -m benchmarks.quality.whole_targets [--model small]

Ten phantoms twice as long as the model's region for a click (random bends, noise and bias field), each
answered from one click in the middle of the target and from a box; then the largest organs of the
validation cases from a box. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace
from statistics import mean

import torch

import sam_moe
from benchmarks.cases import DATA, general_cases
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import box_around, centre_point
from sam_moe.space.phantom import two_regions
from sam_moe.space.volume import Volume


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    asked = parser.parse_args()
    model = sam_moe.load(asked.model)
    narrow, card = replace(model, whole_targets=False), model.preprocessing
    spacing = card.spacing_mm * card.click_zoom
    rows: dict[str, list[tuple[float, float, float]]] = {}

    def compare(row: str, scan: Volume, truth: Volume, item: Point | Box) -> None:
        alone = narrow.open(scan).predict(item)
        whole = model.open(scan).predict(item)
        rows.setdefault(row, []).append((alone.dice(truth), whole.dice(truth), whole.latency_ms))

    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        scan, truth = two_regions(generator, card.region_shape, (spacing,) * 3)
        mask = truth.array.bool().numpy()
        compare("phantom, 1 click", scan, truth, centre_point(mask, truth.grid.spacing_mm))
        compare("phantom, box", scan, truth, box_around(mask))
    if DATA.is_dir():
        for case in general_cases("validation"):
            size = [s * n for s, n in zip(case.truth.grid.spacing_mm, _extent(case.truth), strict=True)]
            if max(size) > 1.2 * max(card.region_shape) * card.spacing_mm:
                compare(f"{case.structure}, box", case.scan, case.truth, box_around(case.truth.array.numpy()))
    print(f"{'target':28}{'cases':>6}{'region alone':>14}{'whole':>8}{'ms':>8}")
    for row, found in rows.items():
        alone, whole, ms = (mean(values) for values in zip(*found, strict=True))
        print(f"{row:28}{len(found):6}{alone:14.3f}{whole:8.3f}{ms:8.0f}")
    phantom = rows["phantom, 1 click"]
    figures = {"alone": mean(a for a, _, _ in phantom), "whole": mean(w for _, w, _ in phantom)}
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def _extent(mask: Volume) -> list[int]:
    index = mask.array.nonzero()
    return (index.amax(0) - index.amin(0) + 1).tolist()


if __name__ == "__main__":
    main()
