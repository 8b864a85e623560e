"""Several labels become one structure, the same in files and in cached scans."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.training.scans.merging import merged_labels

LABELS = torch.tensor([0, 1, 2, 3, 4], dtype=torch.int16)
NAMES = {1: "left", 2: "right", 3: "stem", 4: "ball"}


def test_a_union_takes_its_first_value_and_what_is_in_none_stays():
    labels, structures = merged_labels(LABELS, NAMES, "brain", {"stem": ["stem"], "sides": ["right", "left"]})
    assert labels.tolist() == [0, 1, 1, 3, 4] and LABELS.tolist() == [0, 1, 2, 3, 4]
    assert list(structures.items()) == [(3, "stem"), (1, "sides")]


def test_a_label_with_its_set_is_met_in_that_set_only():
    own = {"ball": ["brain/ball"], "moon": ["moon"]}
    assert merged_labels(LABELS, NAMES, "brain", own)[1] == {4: "ball"}
    assert merged_labels(LABELS, NAMES, "toys", own)[1] == {}


def test_a_label_is_of_one_structure():
    with pytest.raises(ConfigError, match="the label left of the set brain is given to sides and to halves"):
        merged_labels(LABELS, NAMES, "brain", {"sides": ["left", "right"], "halves": ["left"]})
