"""How often 95 % intervals hold the mean of all patients, by method and number of patients.

    python -m benchmarks.intervals.coverage [--replicates 2000] [--resamples 300]

Patients are drawn from populations made of the committed rows (`populations.py`); of each draw every method
(`methods.py`) gives its interval, and the mean of all patients is inside or not. Asked as the tables ask: the
mean of one structure, the mean over structures of two sets, the mean over all targets of patients who have
one to eight, and a paired difference of two systems. The last line is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from benchmarks.intervals.methods import METHODS, OF_STRUCTURES, Method
from benchmarks.intervals.populations import VERY_MANY, Population, Sample, sample, table
from sam_moe.evaluation.scoring.intervals import DIFFERENCE, SHARE, Bounds


@dataclass(frozen=True)
class Case:
    """A question about patients that can be drawn: `draw` makes one sample, `truth` is the mean of all."""

    question: str
    name: str
    patients: str
    draw: Callable[[np.random.Generator], Sample]
    truth: float
    bounds: Bounds = SHARE


@dataclass(frozen=True)
class Tried:
    """Of a method: the share of intervals that hold the truth, their mean width, the share without one."""

    inside: float
    width: float
    none: float


# Of each: system, prompt, set, labels pooled into one structure.
ONE = (
    ("small", "click1", "abdomen", ("liver",)),
    ("small", "box", "head and neck", ("parotid_left", "parotid_right")),
    ("small", "box", "sarcoma", ()),
    ("small", "box", "hippocampus", ()),
    ("small-moe", "click1", "head and neck", ("spinal_cord",)),
)
STRUCTURES = 7
SEVERAL = (("small", "click1"), ("small", "box"), ("random walker", "click5"))
POOLED = {"kidney_left": "kidneys", "kidney_right": "kidneys", "parotid_left": "p", "parotid_right": "p"}
LEARNT = ("brainstem", "larynx", "mandible", "parotid_left", "parotid_right")
SETS = {"abdomen": 4, "head and neck": 12, "hippocampus": 12, "sarcoma": 6}  # patients
DIFFERENCES = (("box", "sarcoma", ()), ("click1", "head and neck", ("esophagus", "spinal_cord")))


def one_structure(sizes: Sequence[int]) -> Iterator[Case]:
    """Means of one structure each."""
    for system, prompt, group, labels in ONE:
        dice, columns = table(system, prompt, group, labels)
        population, same = Population(dice), [0] * len(columns)
        truth = sample([population.draw(VERY_MANY, np.random.default_rng(0))], [same]).mean()
        for size in sizes:
            draw = partial(_each, [population], [same], [size])
            yield Case("one structure", f"{system} {prompt} {group}", str(size), draw, truth)


def over_structures(sizes: Sequence[tuple[int, int]]) -> Iterator[Case]:
    """Means over the structures of two sets."""
    for system, prompt in SEVERAL:
        found = [table(system, prompt, "abdomen"), table(system, prompt, "head and neck", LEARNT)]
        populations, structures, before = [], [], 0
        for dice, columns in found:
            names = [POOLED.get(column, column) for column in columns]
            structures.append([before + sorted(set(names)).index(name) for name in names])
            populations.append(Population(dice))
            before += len(set(names))
        many = [one.draw(VERY_MANY, np.random.default_rng(0)) for one in populations]
        truth = sample(many, structures).mean()
        for size in sizes:
            draw = partial(_each, populations, structures, size)
            yield Case("over structures", f"{system} {prompt}", f"{size[0]}+{size[1]}", draw, truth)


def over_targets(sizes: Sequence[int]) -> Iterator[Case]:
    """Means over all targets of patients of four sets, drawn as often as the sets are large."""
    shares = np.array(list(SETS.values())) / sum(SETS.values())
    for system, prompt in (("small", "click1"), ("small-moe", "box")):
        populations = [Population(table(system, prompt, group)[0]) for group in SETS]
        same = [[0] * one.draw(1, np.random.default_rng(0)).shape[1] for one in populations]

        draw = partial(_mixed, populations, same, shares)
        truth = draw(VERY_MANY, np.random.default_rng(0)).mean()
        for size in sizes:
            yield Case("over targets", f"{system} {prompt}", str(size), partial(draw, size), truth)


def differences(sizes: Sequence[int]) -> Iterator[Case]:
    """Paired differences of the mixture and its general model."""
    for prompt, group, labels in DIFFERENCES:
        pair = [table(system, prompt, group, labels)[0] for system in ("small-moe", "small")]
        population, half = Population(np.hstack(pair)), pair[0].shape[1]

        draw = partial(_differing, population, half)
        truth = draw(VERY_MANY, np.random.default_rng(0)).mean()
        for size in sizes:
            yield Case("difference", f"{prompt} {group}", str(size), partial(draw, size), truth, DIFFERENCE)


def drawn_structures(sizes: Sequence[int]) -> Iterator[Case]:
    """Means over seven structures that are drawn anew each time, as hard as those of two sets are."""
    for system, prompt in SEVERAL:
        population = Population(table(system, prompt, "head and neck", LEARNT)[0])
        other = Population(table(system, prompt, "abdomen")[0])
        middles = np.concatenate([population.middle, other.middle])
        draw = partial(_anew, population, float(middles.mean()), float(middles.std(ddof=1)))
        rng = np.random.default_rng(0)
        truth = float(np.mean([draw(30, rng).values.mean() for _ in range(4000)]))
        for size in sizes:
            yield Case("7 drawn structures", f"{system} {prompt}", str(size), partial(draw, size), truth)


def _anew(population: Population, middle: float, sd: float, size: int, rng: np.random.Generator) -> Sample:
    """Structures whose middles are normal on the logit scale; patients about them as about known ones."""
    column = rng.integers(len(population.middle), size=STRUCTURES)
    dice = np.nan_to_num(population.draw(size, rng), nan=0.5)
    moved = logit(dice[:, column]) - population.middle[column] + rng.normal(middle, sd, STRUCTURES)
    return sample([expit(moved)], [range(STRUCTURES)])


def _each(
    populations: Sequence[Population],
    structures: Sequence[Sequence[int]],
    sizes: Sequence[int],
    rng: np.random.Generator,
) -> Sample:
    return sample([one.draw(n, rng) for one, n in zip(populations, sizes, strict=True)], structures)


def _mixed(
    populations: Sequence[Population],
    structures: Sequence[Sequence[int]],
    shares: Float[np.ndarray, " sets"],
    size: int,
    rng: np.random.Generator,
) -> Sample:
    """So many patients of whichever set; to the methods they are one set."""
    sizes = rng.multinomial(size, shares)
    drawn = _each(populations, structures, sizes, rng)
    place = np.unique(drawn.patients, return_inverse=True)[1]
    return replace(drawn, patients=place, sets=np.zeros_like(drawn.sets))


def _differing(population: Population, half: int, size: int, rng: np.random.Generator) -> Sample:
    both = population.draw(size, rng)
    return sample([both[:, :half] - both[:, half:]], [[0] * half])


def tried(case: Case, methods: Mapping[str, Method], replicates: int, resamples: int) -> dict[str, Tried]:
    """What comes of each method on the same draws."""
    rng = np.random.default_rng(1)
    inside, width, none = (dict.fromkeys(methods, 0.0) for _ in range(3))
    for _ in range(replicates):
        drawn = case.draw(rng)
        for name, method in methods.items():
            found = method(drawn, case.bounds, resamples, rng)
            if found is None or np.isnan(found).any():
                none[name] += 1
                continue
            inside[name] += found[0] <= case.truth <= found[1]
            width[name] += found[1] - found[0]
    given = {name: replicates - none[name] or 1 for name in methods}
    return {
        name: Tried(inside[name] / replicates, width[name] / given[name], none[name] / replicates)
        for name in methods
    }


def cases() -> list[Case]:
    """All of them, by question and number of patients."""
    return [
        *one_structure((4, 6, 8, 12)),
        *over_structures(((4, 4), (4, 12), (6, 6), (12, 12))),
        *over_targets((4, 6, 12)),
        *differences((4, 6, 12)),
    ]


def lines(found: Mapping[Case, Mapping[str, Tried]], methods: Iterable[str] = METHODS) -> Iterator[str]:
    """A line for each question and number of patients: mean coverage and width, and the least coverage."""
    yield f"{'':<18}{'patients':>9}" + "".join(f"{name:>22}" for name in methods)
    for question in dict.fromkeys(case.question for case in found):
        for patients in dict.fromkeys(case.patients for case in found if case.question == question):
            yield f"{question:<18}{patients:>9}" + "".join(
                _cell(
                    [own[m] for c, own in found.items() if (c.question, c.patients) == (question, patients)]
                )
                for m in methods
            )
    yield f"{'all':<27}" + "".join(_cell([own[name] for own in found.values()]) for name in methods)


def _cell(own: Sequence[Tried]) -> str:
    inside, width = (np.mean([getattr(one, name) for one in own]) for name in ("inside", "width"))
    return f"{inside:9.3f} {width:5.3f} {min(one.inside for one in own):6.3f}"


def main() -> None:
    """Try every method on every case, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=300)
    asked = parser.parse_args()
    start, found = process_time(), {}
    for case in cases():
        found[case] = tried(case, METHODS, asked.replicates, asked.resamples)
        print(f"{len(found)}: {case.name}, {case.patients}", file=sys.stderr, flush=True)
    print(f"{asked.replicates} draws each, {asked.resamples} resamples. Of each method: the share of")
    print("intervals that hold the mean of all patients (to be 0.95), their mean width, and the share in the")
    print("worst population.\n")
    print("\n".join(lines(found)))
    further = {case: tried(case, OF_STRUCTURES, asked.replicates, 0) for case in drawn_structures((4, 6, 12))}
    print("\nTruth is the mean over all structures of this kind, of which seven are drawn each time.\n")
    print("\n".join(lines(further, OF_STRUCTURES)))
    print(f"\n{process_time() - start:.0f} s of one core")
    every = {name: [own[name].inside for own in found.values()] for name in METHODS}
    print(json.dumps({name: [round(float(np.mean(own)), 4), min(own)] for name, own in every.items()}))


if __name__ == "__main__":
    main()
