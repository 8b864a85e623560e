"""Grouped dispatch gives what running everything gives, at any shape, and runs the chosen alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sam_moe.moe.dispatching.rows import NONE, dense, grouped, used

WIDTH = 3


def experts_of(count):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Linear(WIDTH, 2).double() for _ in range(count)]


def chosen(rows, count, k, seed, some):
    """Different experts for each row, from the first `some` alone."""
    rng = torch.Generator().manual_seed(seed)
    ranks = torch.rand(*rows, count, generator=rng)
    ranks[..., some:] = -1
    return ranks.topk(k, dim=-1).indices


cases = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple),
        st.just(count),
        st.integers(1, count),
        st.integers(0, 10_000),
    )
)


@given(cases, st.integers(0, 4), st.booleans())
def test_grouped_is_dense_at_any_shape_with_any_expert_left_out(case, left_out, with_none):
    rows, count, k, seed = case
    index = chosen(rows, count, k, seed, max(k, count - left_out))
    if with_none and index.numel():
        index = index.masked_fill(torch.arange(index.numel()).reshape(index.shape) % 3 == 1, NONE)
    experts = experts_of(count)
    x = torch.randn(*rows, WIDTH, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    flat = x.reshape(-1, WIDTH)

    def run(e, r):
        return experts[e](flat[r])

    found, expected = grouped(index, run), dense(index, count, run)
    assert found.shape == expected.shape == (*rows, k, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    if index.numel():
        grads = [
            torch.autograd.grad(y.square().sum(), experts[0].weight, allow_unused=True)[0]
            for y in (found, expected)
        ]
        grads = [torch.zeros(2, WIDTH, dtype=torch.double) if g is None else g for g in grads]
        torch.testing.assert_close(*grads)


def test_each_chosen_expert_runs_once_on_its_rows_in_their_order():
    ran = []

    def run(e, rows):
        ran.append((e, rows.tolist()))
        return 10.0 * e + rows[:, None]

    answers = grouped(torch.tensor([[[2, 0], [0, 1]], [[2, 1], [0, 2]]]), run)
    assert ran == [(0, [0, 1, 3]), (1, [1, 2]), (2, [0, 2, 3])]
    assert answers[..., 0].tolist() == [[[20, 0], [1, 11]], [[22, 12], [3, 23]]]


def test_without_rows_the_first_expert_gives_the_shape():
    ran = []

    def run(e, rows):
        ran.append(e)
        return torch.zeros(len(rows), 7)

    assert grouped(torch.zeros(2, 0, 1, dtype=torch.long), run).shape == (2, 0, 1, 7)
    assert ran == [0]


@pytest.mark.parametrize("index", [[[1], [1], [1]], [[1]]])
def test_an_expert_that_all_chose_is_given_all_rows_and_its_answer_is_not_copied(index):
    kept = []

    def run(e, rows):
        kept.append(torch.ones(len(rows), 2))
        return kept[-1]

    answers = grouped(torch.tensor(index), run)
    assert answers.shape == (len(index), 1, 2) and answers.data_ptr() == kept[0].data_ptr()


def test_answers_of_another_precision_take_the_firsts():
    def run(e, rows):
        return torch.ones(len(rows), 1, dtype=torch.bfloat16 if e else torch.float32)

    assert grouped(torch.tensor([[0], [1]]), run).dtype == torch.float32


def test_used_are_the_experts_that_any_place_of_a_row_chose():
    """Two rows of three places that choose two each."""
    index = torch.tensor([[[0, 2], [2, 0], [0, 2]], [[1, 2], [1, 2], [3, 1]]])
    assert used(index, 4).tolist() == [[0, NONE, 2, NONE], [NONE, 1, 2, 3]]
    assert used(torch.zeros(0, 3, 1, dtype=torch.long), 2).shape == (0, 2)
