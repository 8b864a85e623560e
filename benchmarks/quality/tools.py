"""Answers of each tool of the table about the targets of one scan: a row an answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.cases import described, read_case
from benchmarks.peers.classical import ConfidenceConnected, CutEllipsoid, RandomWalker, ellipsoid
from benchmarks.peers.slicewise import SliceWise
from benchmarks.quality.blocks import GENERAL, Target
from benchmarks.quality.protocol import Score, by_box, click_through, drawn_box, replay
from sam_moe.predict.model import Model
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import Mask
from sam_moe.space.volume import Volume

OURS = "ours"
GROWING, WALKER = "confidence connected", "random walker"
# Columns of the same tools with the points that ours was given, not with those of their own errors.
OUR_POINTS = {GROWING: "conf. conn., our clicks", WALKER: "walker, our clicks"}
ELLIPSOID, CUT = "ellipsoid", "cut ellipsoid"
PEER = "LiteMedSAM"
CLASSICAL = (GROWING, WALKER, ELLIPSOID, CUT)


@dataclass(frozen=True)
class Row:
    """One answer of one tool to one target."""

    target: Target
    tool: str
    score: Score


def rows_of(targets: Sequence[Target], model: Model | None, peer: Any = None) -> Iterator[Row]:
    """Rows of every tool about targets that are all of one scan; the peer's of the general block only."""
    first = targets[0]
    scan, labels = read_case(first.set, first.case)
    slices = None
    if peer is not None and first.block == GENERAL:
        modality = str(described(first.set)[first.case].get("modality", ""))
        slices = SliceWise(peer, scan, ct=modality.startswith("CT"))
    predictor = None if model is None else model.open(scan)
    for target in targets:
        truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
        ours: list[Point] = []
        for name, clicked in clicked_tools(scan, predictor).items():
            scores, points = click_through(clicked, truth, scan.grid.spacing_mm)
            ours = points if name == OURS else ours
            again = replay(clicked, ours, truth) if ours and name in OUR_POINTS else []
            yield from (Row(target, name, score) for score in scores)
            yield from (Row(target, OUR_POINTS[name], score) for score in again)
        box = drawn_box(truth, target.seed)
        boxed = boxed_tools(scan, predictor)
        if slices is not None and target.block == GENERAL:
            boxed[PEER] = slices
        for name, tool in boxed.items():
            yield Row(target, name, by_box(tool, box, truth))


def clicked_tools(scan: Volume, predictor: Predictor | None) -> dict[str, Callable[[Sequence[Point]], Mask]]:
    """The tools that answer clicks on a scan, by name."""
    growing, walker = ConfidenceConnected(), RandomWalker()
    tools: dict[str, Callable[[Sequence[Point]], Mask]] = {
        GROWING: lambda clicks: growing(scan, clicks),
        WALKER: lambda clicks: walker(scan, clicks),
    }
    if predictor is None:
        return tools
    return {OURS: lambda clicks: _ours(predictor, clicks), **tools}


def boxed_tools(scan: Volume, predictor: Predictor | None) -> dict[str, Callable[[Box], Mask]]:
    """The tools that answer a box on a scan, by name."""
    cut = CutEllipsoid()
    tools: dict[str, Callable[[Box], Mask]] = {
        ELLIPSOID: lambda box: ellipsoid(scan.grid.shape, box),
        CUT: lambda box: cut(scan, box),
    }
    if predictor is None:
        return tools
    return {OURS: lambda box: _mask(predictor.predict(box).mask), **tools}


def _ours(predictor: Predictor, clicks: Sequence[Point]) -> Mask:
    answered = predictor.predict(*clicks) if len(clicks) == 1 else predictor.refine(clicks[-1])
    return _mask(answered.mask)


def _mask(mask: torch.Tensor) -> Mask:
    return np.asarray(mask.numpy().astype(bool))
