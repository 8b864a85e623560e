"""Running the chosen experts: each once on the rows that chose it; or, as an oracle, all on every row."""

from collections.abc import Callable

import torch
from torch import Tensor

from sam_moe.shapes import Float, Int

# What was chosen for nothing: a slot of this index stays zero.
NONE = -1

Run = Callable[[int, Int[Tensor, " r"]], Tensor]


def grouped(experts: Int[Tensor, "*rows k"], run: Run) -> Float[Tensor, "..."]:
    """Run each chosen expert once, on all rows that chose it, and no other expert.

    `run(index, rows)` answers these rows in their order; rows are counted over all leading axes, as `flatten`
    does, in ascending order, so that as many as there are means all of them. The answers have the shape of
    `experts`, then of one answer. Without any row the first expert runs on none, to give the answer's shape.
    """
    flat = experts.flatten(0, -2)
    if flat.numel() == 1 and int(flat) != NONE:  # a click's usual case, spared the bookkeeping
        answer = run(int(flat), torch.zeros(1, dtype=torch.long))
        return answer.reshape(*experts.shape, *answer.shape[1:])
    found: list[int] = flat.unique().tolist()
    chosen = [index for index in found if index != NONE] or [0]
    answers: Tensor | None = None
    for index in chosen:
        rows, slots = (flat == index).nonzero(as_tuple=True)
        answer = run(index, rows)
        if len(rows) == flat.numel() and flat.shape[1] == 1:
            return answer.reshape(*experts.shape, *answer.shape[1:])
        if answers is None:
            shape = *flat.shape, *answer.shape[1:]
            answers = answer.new_zeros(shape) if NONE in found else answer.new_empty(shape)
        answers[rows, slots] = answer.to(answers.dtype)
    assert answers is not None
    return answers.reshape(*experts.shape, *answers.shape[2:])


def dense(experts: Int[Tensor, "*rows k"], count: int, run: Run) -> Float[Tensor, "..."]:
    """What `grouped` gives, by running all of `count` experts on every row: the oracle of its tests."""
    flat = experts.flatten(0, -2)
    every = torch.arange(len(flat), device=experts.device)
    answers = torch.stack([run(index, every) for index in range(count)], dim=1)
    picked = answers[every[:, None], flat.clamp(min=0)]
    none = (flat == NONE).reshape(*flat.shape, *[1] * (picked.ndim - 2))
    picked = picked.masked_fill(none, 0)
    return picked.reshape(*experts.shape, *picked.shape[2:])


def used(experts: Int[Tensor, "b *places k"], count: int) -> Int[Tensor, "b e"]:
    """For each row the experts that any of its places chose, by index, and `NONE` in place of the others."""
    chosen = experts.flatten(1)
    nowhere = torch.zeros(len(chosen), count, dtype=torch.bool, device=chosen.device)
    return torch.arange(count, device=chosen.device).where(nowhere.scatter(1, chosen, True), NONE)
