"""Triples are read from whatever holds three numbers, and a bad one is named."""

import numpy as np
import pytest

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import moved, show, triples


def test_points_are_moved_as_a_matrix_says():
    matrix = np.array([[0, 2.0, 0, 1], [1, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    assert moved(matrix, ((1, 2, 3), (0, 0, 0))) == ((5, 3, 12), (1, 2, 3))
    assert show((1, 2.5, 3)) == "(1, 2.5, 3)"


def test_too_few_points_and_the_point_that_is_none_are_named():
    assert triples([(1, 2, 3)], "a stroke", 1) == ((1.0, 2.0, 3.0),)
    with pytest.raises(PromptError, match="a loop of 1 points is too short. Expected at least 3"):
        triples([(1, 2, 3)], "a loop", 3)
    with pytest.raises(PromptError, match="point 1 of a stroke must be three numbers"):
        triples([(1, 2, 3), (1, 2)], "a stroke", 1)
