"""Averaged weights move towards the model, and come back from a checkpoint."""

import pytest
import torch
from torch import nn

from sam_moe.training.engine.average import Average


def test_the_average_moves_quickly_at_first_and_then_by_its_decay():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = Average(model, 0.9)
    nn.init.constant_(model.weight, 1.0)
    average.update(model, 0)  # keeps 1/10
    assert average.values["weight"].item() == pytest.approx(0.9)
    nn.init.constant_(model.weight, 0.0)
    average.update(model, 10**6)  # keeps 0.9
    assert average.values["weight"].item() == pytest.approx(0.81)


def test_whole_numbers_are_copied_and_not_averaged():
    model = nn.BatchNorm1d(2)
    average = Average(model, 0.9)
    model(torch.randn(8, 2))
    average.update(model, 100)
    assert average.values["num_batches_tracked"] == 1
    assert torch.allclose(average.values["running_mean"], 0.1 * model.running_mean, atol=1e-6)


def test_an_average_is_no_view_of_the_model_and_is_taken_up_again():
    model = nn.Linear(2, 1)
    average = Average(model, 0.5)
    before = average.values["weight"].clone()
    nn.init.constant_(model.weight, 9.0)
    assert torch.equal(average.values["weight"], before)
    again = Average(nn.Linear(2, 1), 0.5)
    again.load_state_dict(average.state_dict())
    assert all(torch.equal(again.values[name], tensor) for name, tensor in average.values.items())
