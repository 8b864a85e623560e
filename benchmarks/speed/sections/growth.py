"""How time grows with the size of the scan, clicks, targets, chosen experts, experts and cases."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sam_moe
from benchmarks.speed.rows import seconds_of
from benchmarks.speed.sections.cases import one_target, several
from benchmarks.speed.sections.experts import EmbeddedClick
from benchmarks.speed.sections.scans import ORDINARY, clicks, public_model, scene
from benchmarks.speed.sections.stages import forget, one_click, without_gradients
from sam_moe.space.files import read

_ROUNDS = 3


@dataclass(frozen=True)
class Growth:
    """One panel of the picture: seconds of each curve at each size."""

    over: str
    sizes: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]


def growth(folder: Path) -> list[Growth]:
    """All panels."""
    return [*of_scans(folder), *of_experts()]


def of_scans(folder: Path) -> list[Growth]:
    """Voxels of the scan, clicks, targets and cases."""
    out = folder / "mask.nii.gz"
    shapes = [(64, 64, 64), (128, 128, 128), (256, 256, 128), (256, 256, 256), (512, 512, 300)]
    places = [scene(folder, s, [384 / max(s)] * 3, f"{n}.nii") for n, s in enumerate(shapes)]
    public, ordinary = public_model(), scene(folder, *ORDINARY, "ordinary.nii.gz")
    small = sam_moe.load("small", device="cpu")
    answer, answer_small = one_target(public, out), one_target(small, out)
    curves: dict[str, list[float]] = {"reading": [], "taking up": [], "first click": [], "further click": []}
    for place in places:
        curves["reading"].append(middle(lambda p=place: read(p.path)))  # type: ignore[misc]
        curves["taking up"].append(middle(lambda p=place: public.open(p.volume)))  # type: ignore[misc]
        predictor = public.open(place.volume)
        curves["first click"].append(
            middle(
                lambda p=predictor: p.predict(*clicks(1)),  # type: ignore[misc]
                before=lambda p=predictor: forget(p),  # type: ignore[misc]
            )
        )
        curves["further click"].append(
            middle(
                lambda p=predictor: p.refine(clicks(2)[1]),  # type: ignore[misc]
                before=lambda p=predictor: one_click(p),  # type: ignore[misc]
            )
        )
    counts, many, cases = (1, 2, 4, 8, 16), (1, 2, 4, 8, 13), (1, 2, 4, 8, 16)

    def repeated(count: int) -> None:
        for _ in range(count):
            answer_small(ordinary, 1)

    return [
        Growth(
            "voxels of the scan",
            tuple(float(p.voxels) for p in places),
            {name: tuple(values) for name, values in curves.items()},
        ),
        curve("clicks on one target", "whole case", counts, lambda n: answer(ordinary, n)),
        curve("targets in one scan", "whole case", many, lambda n: several(public, ordinary, n, out)),
        curve("cases of small", "one process", cases, repeated),
    ]


def of_experts() -> list[Growth]:
    """Experts chosen of 16, and experts there are."""
    asked = EmbeddedClick()
    wide = asked.mixture(16)
    chosen = curve("chosen experts, of 16", "decoding", (1, 2, 4, 8, 16), lambda k: asked.decode(wide, k))
    counts = (4, 16, 64, 256)
    mixtures = {count: asked.mixture(count) for count in counts}
    there = curve("experts there are, 1 chosen", "decoding", counts, lambda n: asked.decode(mixtures[n], 1))
    return [chosen, there]


def curve(over: str, name: str, sizes: Sequence[int], run: Callable[[int], object]) -> Growth:
    """One panel of one curve; what is asked of the largest is asked once."""
    seconds = tuple(middle(without_gradients(lambda n=n: run(n))) for n in sizes)  # type: ignore[misc]
    return Growth(over, tuple(map(float, sizes)), {name: seconds})


def middle(run: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The median of a few calls after a first one; one of more than two seconds counts itself."""
    before()
    took = [seconds_of(run)]
    if took[0] > 2:
        return took[0]
    took.clear()
    for _ in range(_ROUNDS):
        before()
        took.append(seconds_of(run))
    return statistics.median(took)
