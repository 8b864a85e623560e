"""What all selection rules are made of."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import (
    NamedRule,
    Selection,
    SelectionRule,
    check_index,
    confidence_of,
    never,
    rows_in,
    shares,
    single,
)

ROWS = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))


def test_confidence_is_the_softmax_over_all_columns():
    logits = torch.tensor([[0.0, torch.tensor(3.0).log().item()]])
    torch.testing.assert_close(confidence_of(logits), torch.tensor([[0.25, 0.75]]))


def test_a_single_expert_a_row_has_weight_one():
    experts, weights, fell_back = single(ROWS.argmax(dim=-1), never(ROWS), ROWS)
    assert experts.shape == weights.shape == (2, 3, 1)
    assert (weights == 1).all() and not fell_back.any() and fell_back.shape == (2, 3)


def test_rows_are_counted_over_all_leading_axes():
    assert rows_in(ROWS) == 6
    assert rows_in(ROWS[:, :0]) == 0


def test_an_index_without_a_column_is_refused():
    check_index(3, ROWS, "the last expert")
    for index in (4, -1):
        with pytest.raises(ConfigError, match="the last expert has index -?[14], but the gate knows 0 to 3"):
            check_index(index, ROWS, "the last expert")


def test_any_class_that_selects_and_explains_is_a_rule_and_one_for_cards_has_a_name_too():
    class Last:
        def select(self, confidence):
            last = torch.full_like(confidence[..., 0], confidence.shape[-1] - 1, dtype=torch.long)
            return single(last, never(confidence), confidence)

        def explain(self, confidence, chosen):
            return ("the last",) * rows_in(confidence)

    assert isinstance(Last(), SelectionRule) and not isinstance(Last(), NamedRule)
    assert isinstance(Argmax(), NamedRule)
    assert isinstance(Last().select(ROWS), Selection)


def test_shares_are_the_weights_by_column():
    confidence = torch.tensor([[0.5, 0.125, 0.375], [0.125, 0.25, 0.625]])
    assert shares(Threshold(0.5), confidence).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert shares(Forced(1), confidence).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert shares(Dense(), confidence).tolist() == confidence.tolist()
    two = torch.tensor([[4 / 7, 0, 3 / 7], [0, 2 / 7, 5 / 7]])
    torch.testing.assert_close(shares(TopK(2), confidence), two)
