"""A case's targets: the structures that are there, each with its truth, and a seed of its own."""

import numpy as np

from sam_moe.evaluation.asking.targets import Target, targets_of
from sam_moe.evaluation.challenge.challenge import cases_of, open_case
from sam_moe.space.files import fingerprint
from tests.evaluation.answerers import phantoms

NOTHING = np.zeros((2, 2, 2), bool)


def test_a_target_is_a_structures_truth_on_the_scans_grid(tmp_path):
    (case,) = cases_of(phantoms(tmp_path / "set", 1, labels={"ball": [1, 7]}))
    opened = open_case(case)
    (target,) = targets_of(case, opened, seed=3)
    assert (target.case, target.label, target.seed) == ("p0_a", "ball", 3)
    assert target.truth.dtype == np.bool_ and target.truth.sum() == int(opened.truths["ball"].array.sum())
    assert target.spacing_mm == opened.scan.grid.spacing_mm
    assert target.scan == fingerprint(opened.scan)


def test_voxels_that_were_not_annotated_are_in_no_measured_answer():
    ignored = NOTHING.copy()
    ignored[0] = True
    everything = ~NOTHING
    assert Target("a", "l", NOTHING, (1, 1, 1), ignored=ignored).judged(everything).sum() == 4
    assert Target("a", "l", NOTHING, (1, 1, 1)).judged(everything) is everything


def test_a_targets_generator_depends_on_case_structure_and_seed_alone():
    draw = {
        name: Target(*name[:2], NOTHING, (1, 1, 1), seed=name[2]).rng.integers(2**40)
        for name in (("a", "l", 0), ("a", "m", 0), ("b", "l", 0), ("a", "l", 1))
    }
    assert len(set(draw.values())) == 4
    assert Target("a", "l", ~NOTHING, (2, 2, 2)).rng.integers(2**40) == draw["a", "l", 0]
