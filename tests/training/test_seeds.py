"""Chance is repeatable, and processes differ only where they may."""

import torch

from sam_moe.training.seeds import agreed_rng, prompt_rng


def drawn(rng: torch.Generator) -> float:
    return torch.rand((), generator=rng).item()


def test_processes_draw_different_prompts_and_agree_on_the_rest() -> None:
    first, second = prompt_rng(3, 17, 0), prompt_rng(3, 17, 1)
    assert drawn(agreed_rng(first)) == drawn(agreed_rng(second))
    assert drawn(first) != drawn(second)


def test_what_is_agreed_on_does_not_depend_on_what_was_drawn_before() -> None:
    fresh, used = prompt_rng(3, 17, 0), prompt_rng(3, 17, 0)
    drawn(used)
    assert drawn(agreed_rng(fresh)) == drawn(agreed_rng(used))


def test_every_step_and_every_seed_has_its_own_chance() -> None:
    values = {drawn(agreed_rng(prompt_rng(seed, step, 0))) for seed in range(3) for step in range(50)}
    assert len(values) == 150
