"""Whole cases, from the file to the file: one target, many clicks, many targets; and many cases a minute."""

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.speed.rows import Task
from benchmarks.speed.sections.public_script import PublicScript
from benchmarks.speed.sections.scans import LARGE, ORDINARY, ORGANS, Scene, clicks, public_model, scene
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.prompts import Point, Prompt
from sam_moe.space.files import read, write_mask

CASES = "a whole case at public size, from the file to the file, 256x256x128 voxels"
QUICKER = 15  # than the public script


def cases(folder: Path) -> Iterator[Task]:
    """Ours against the public script's way; its 13 labels are 13 times its one."""
    ordinary, large = scene(folder, *ORDINARY, "ordinary.nii.gz"), scene(folder, *LARGE, "large.nii")
    model = public_model()
    script, out = PublicScript(model.network.module), folder / "mask.nii.gz"
    answer = one_target(model, out)

    def plainly(place: Scene, count: int) -> Callable[[], None]:
        return lambda: script.whole_case(place.path, out, [click.at for click in clicks(count)])

    way = "the public script's way, from the file to the file"
    yield Task(
        "1 target, 1 click", lambda: answer(ordinary, 1), plainly(ordinary, 1), way,
        repeats=1, plain_rounds=1,
    )  # fmt: skip
    yield Task(
        "1 target, 5 clicks", lambda: answer(ordinary, 5), plainly(ordinary, 5), way,
        repeats=1, plain_rounds=1,
    )  # fmt: skip
    yield Task(
        "1 target, 1 click, 512x512x300 .nii", lambda: answer(large, 1), plainly(large, 1), way,
        repeats=1, plain_rounds=1,
    )  # fmt: skip
    every = f"{way}; its time for one label, that many times over"
    for count in (2, len(ORGANS)):
        yield Task(
            f"{count} targets, 1 click each", lambda n=count: several(model, ordinary, n, out),  # type: ignore[misc]
            plainly(ordinary, 1), every, plain_times=count, repeats=1, plain_rounds=1, bar=QUICKER,
        )  # fmt: skip


def one_target(model: Model, out: Path) -> Callable[[Scene, int], None]:
    """A case of one target and some clicks."""

    def answer(place: Scene, count: int) -> None:
        predictor = model.open(read(place.path), cache=EmbeddingCache())
        first, *further = clicks(count)
        found = predictor.predict(first)
        for click in further:
            found = predictor.refine(click)
        write_mask(out, found.mask, found.grid)

    return answer


def several(model: Model, place: Scene, count: int, out: Path) -> None:
    """A case of several targets, a click each, into one label map."""
    predictor = model.open(read(place.path), cache=EmbeddingCache())
    predictor.predict_targets(targets(count)).save(out)


def targets(count: int) -> dict[str, Prompt]:
    """The first so many organs, a click into each."""
    named = list(ORGANS.items())[:count]
    return {name: Prompt((Point(at, space="mm"),)) for name, at in named}
