"""What must not learn is watched to the bit."""

import pytest
from torch import nn

from sam_moe.errors import SamMoeError
from sam_moe.training.engine.frozen import unchanged


def test_modules_that_stay_pass():
    with unchanged({"backbone": nn.Linear(2, 2)}, "the gate"):
        pass


def test_a_module_that_changed_is_named_and_no_other():
    expert, backbone = nn.Linear(2, 2), nn.Linear(2, 2)
    with (
        pytest.raises(
            SamMoeError, match="^cord changed while the gate was trained, though only the gate may"
        ),
        unchanged({"backbone": backbone, "cord": expert}, "the gate"),
    ):
        expert.bias.data[0] += 1e-6


def test_an_error_within_is_not_hidden():
    expert = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), unchanged({"cord": expert}, "the gate"):
        expert.bias.data[0] += 1 / 0
