"""The best that was met is kept, and weights are measured when it is their turn."""

import pytest
import torch

from sam_moe.training.engine.best import Kept, Validation, keep_best, read_best


def found(step, score):
    return Kept({"weight": torch.full((2,), float(step))}, step, {"score": score, "other": 0.5})


def test_before_the_first_validation_there_is_no_best(tmp_path):
    assert read_best(tmp_path) is None


def test_only_a_higher_score_replaces_what_is_kept(tmp_path):
    for step, score in ((1, 0.3), (2, 0.7), (3, 0.7), (4, 0.2)):
        keep_best(found(step, score), tmp_path)
    best = read_best(tmp_path)
    assert (best.step, best.figures) == (2, {"score": 0.7, "other": 0.5})
    assert torch.equal(best.weights["weight"], torch.full((2,), 2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize(("done", "due"), [(1, False), (3, True), (6, True), (7, True), (5, False)])
def test_weights_are_measured_every_so_often_and_at_the_end(done, due):
    assert Validation(lambda weights: {}, every=3).due(done, steps=7) == due
