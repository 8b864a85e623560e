"""The gate learns from a table what neither image nor prompt shows alone; it resumes; nothing else moves."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.losses import balance_loss, owner_loss
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import (
    GateLoss,
    GateRows,
    GateValidation,
    Objective,
    fresh_gate,
    logits_of,
)
from sam_moe.training.engine.seeds import prompt_rng
from tests.systems.sam_med3d_moe.train_gate.tables import FEATURES, by_hand, crossed, learn

ROOT = Path(__file__).resolve().parents[4]
NAN = float("nan")


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


def gate(experts=2, mode="both"):
    return fresh_gate(FEATURES, experts, 16, mode, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "low", "high"), [("both", 0.95, 1.0), ("image", 0, 0.7), ("prompt", 0, 0.7)]
)
def test_only_image_and_prompt_together_show_the_owner_of_a_crossed_case(tmp_path, mode, low, high):
    kept = learn(tmp_path, 200, mode, batch_size=32)
    assert low <= kept.figures["accuracy"] <= high


def test_the_table_of_that_test_shows_nothing_by_one_part_alone():
    table = crossed(4000)
    for part in (table.seen.pooled, table.seen.prompt):
        assert abs(table.owner[part[:, 0] > 0].float().mean() - 0.5) < 0.05


def test_all_tasks_are_drawn_alike_unlabelled_places_as_one_of_their_own():
    owner, structure = [0] * 40 + [0] * 8 + [1] * 2, [0] * 40 + [1] * 8 + [2] * 2
    table = by_hand(owner, [[0.5, 0.5]] * 50, structure, ("liver", "unlabelled place", "cord"))
    stream = GateRows(table, 0)
    drawn = torch.stack([stream[n] for n in range(3 * 80)])
    assert torch.bincount(table.structure[drawn]).tolist() == [80] * 3
    assert (torch.bincount(drawn)[:40] == 2).all()  # every liver once a round
    assert not torch.equal(drawn[table.structure[drawn] == 0][:40], drawn[table.structure[drawn] == 0][40:])
    again = GateRows(table, 0)
    assert [int(again[n]) for n in (150, 3, 77)] == drawn[[150, 3, 77]].tolist()


def test_the_loss_is_the_targets_and_the_balance_term():
    table, one = crossed(8), gate()
    rows = torch.tensor([5, 2, 2])
    logits = logits_of(one, table.rows(rows))
    expected = owner_loss(logits, table.owner[rows]).mean() + 0.5 * balance_loss(logits)
    rng = torch.Generator().manual_seed(0)
    assert torch.equal(GateLoss(one, table, Objective(balance=0.5))(rows, rng), expected)


def test_a_table_without_what_a_target_needs_is_refused():
    table = by_hand([0, 1], [[0.5, NAN], [NAN, 0.5]])
    with pytest.raises(ConfigError, match="every expert was asked"):
        GateLoss(gate(), table, Objective("best"))
    with pytest.raises(ConfigError, match="keeps answers"):
        GateLoss(gate(), table, Objective("fused"))


@pytest.mark.parametrize("target", ["best", "fused"])
def test_the_other_targets_pull_towards_the_better_expert(target):
    """Expert 1 is right everywhere and expert 0 wrong; the gradient step raises the logit of 1."""
    table = by_hand([0, 0, 1], [[0.1, 0.9]] * 3)
    truth = torch.zeros(3, 2, 2, 2)
    truth[:, 0] = 1
    answers = torch.stack([3 - 6 * truth, 6 * truth - 3], dim=1)
    object.__setattr__(table, "answers", answers.half())
    object.__setattr__(table, "targets", truth.half())
    one, rows = gate(), torch.arange(3)
    GateLoss(one, table, Objective(target))(rows, torch.Generator()).backward()
    assert one.columns[1].bias.grad < 0 < one.columns[0].bias.grad


def test_validation_counts_tasks_alike_and_scores_the_surest_experts_dice():
    """Column 1 is always surest: right on 1 row of task 1, wrong on 3 of task 0; Dice (0.3 + 0.9) / 2."""
    table = by_hand([0, 0, 0, 1], [[0.6, 0.3], [0.6, 0.3], [0.6, 0.3], [0.2, 0.9]])
    one = gate()
    one.columns[1].bias.data.fill_(5.0)
    figures = GateValidation(table, gate())(one.state_dict())
    assert figures == {"accuracy": 0.5, "score": pytest.approx(0.6, abs=1e-5)}


def test_after_a_stop_the_next_start_ends_with_the_same_bits(tmp_path):
    whole = learn(tmp_path / "whole")

    def stop(row):
        if row["step"] == 5:
            raise Stopped

    with pytest.raises(Stopped):
        learn(tmp_path / "cut", report=stop)
    again = learn(tmp_path / "cut")
    assert again.step == whole.step and again.figures == whole.figures
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in whole.weights.items())


@pytest.mark.slow
def test_two_processes_share_the_gradients_of_one(tmp_path):
    script = [str(Path(__file__).with_name("tables.py")), str(tmp_path)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "1",
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run([sys.executable, *launcher, *script], check=True, env=environment, timeout=300)
    ranks = [torch.load(tmp_path / f"rank{n}.pt") for n in (0, 1)]
    table, one = crossed(), gate()
    stream, loss = GateRows(table, 1), GateLoss(one, table, Objective(noise=0.1))
    for rank in (0, 1):
        rows = torch.stack([stream[8 * rank + n] for n in range(8)])
        (loss(rows, prompt_rng(1, 0, rank)) / 2).backward()
    learnt = list(loss.parameters())
    alone = [p.grad for p in learnt if p.ndim > 1] + [p.grad for p in learnt if p.ndim <= 1]
    for a, b, c in zip(alone, ranks[0]["first"], ranks[1]["first"], strict=True):
        assert torch.equal(b, c)
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0)
