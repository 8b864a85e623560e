"""Chance is repeatable, and processes differ only where they may."""

import torch

from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import fresh_gate
from sam_moe.training.engine.seeds import agreed_rng, prompt_rng, seeded


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


def test_initial_weights_follow_from_their_seed_and_leave_the_callers_chance_alone() -> None:
    before = torch.get_rng_state()
    gates = [fresh_gate(8, 3, 4, "both", seed) for seed in (1, 1, 2)]
    models = [fresh_model(Sizes(16, 4, 24, 1, 2, 4, (0,), 48, 32, 8, 2, 16), seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    for one, again, other in (gates, models):
        a, b, c = (torch.nn.utils.parameters_to_vector(m.parameters()) for m in (one, again, other))
        assert torch.equal(a, b) and not torch.equal(a, c)
    torch.manual_seed(9)
    drawn_before = torch.rand(3)
    with seeded(9):
        assert torch.equal(torch.rand(3), drawn_before)  # the same numbers as `torch.manual_seed` gives
