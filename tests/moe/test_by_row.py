"""Rows whose expert is known: each has its own, whatever the gate's scores, for all that lies in the row."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.by_row import ByRow
from sam_moe.moe.rules import RULES
from sam_moe.moe.selection import SelectionRule, confidence_of, is_raw


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 5)])
def test_each_row_has_its_expert_with_weight_one_in_all_its_places(shape):
    confidence = confidence_of(torch.randn(*shape, 4, generator=torch.Generator().manual_seed(0)))
    rule = ByRow(torch.tensor([3, 0, 2]))
    experts, weights, fell_back = rule.select(confidence)
    assert experts.shape == weights.shape == (*shape, 1) and (weights == 1).all()
    for row, index in enumerate((3, 0, 2)):
        assert (experts[row] == index).all()
    assert fell_back.shape == shape and not fell_back.any()
    assert rule.explain(confidence, rule.select(confidence)) == ("known",) * torch.Size(shape).numel()


def test_one_expert_serves_rows_in_any_number():
    assert ByRow(torch.tensor([1])).select(torch.full((3, 2), 0.5)).experts.tolist() == [[1]] * 3


@pytest.mark.parametrize("index", [2, -1])
def test_an_expert_without_a_column_is_refused(index):
    with pytest.raises(
        ConfigError, match=f"the known expert of a row has index {index}, but the gate knows 0 to 1"
    ):
        ByRow(torch.tensor([0, index])).select(torch.full((2, 2), 0.5))


def test_it_is_a_rule_that_no_card_can_name():
    assert isinstance(ByRow(torch.tensor([0])), SelectionRule) and not is_raw(ByRow(torch.tensor([0])))
    assert "by_row" not in RULES.names
