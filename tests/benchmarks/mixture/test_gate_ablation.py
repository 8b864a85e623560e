"""Figures of a gate's variants, worked by hand on a table of six prompts."""

import torch
from torch.nn import functional as F

from benchmarks.mixture import gate_ablation
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from tests.systems.sam_med3d_moe.train_gate.tables import by_hand

# Owners: general, general, expert 1 twice, expert 2, and a place without a label (structure 0).
OWNER = [0, 0, 1, 1, 2, 0]
STRUCTURE = [1, 1, 2, 2, 3, 0]
NAMES = ("unlabelled place", "liver", "cord", "tumour")
SCORES = [
    [0.9, 0.1, 0.1],
    [0.7, 0.2, 0.2],
    [0.2, 0.6, 0.1],
    [0.4, 0.8, 0.1],
    [0.3, 0.1, 0.5],
    [float("nan")] * 3,
]


def table():
    made = by_hand(OWNER, SCORES, STRUCTURE, NAMES)
    assert made.labelled.tolist() == [True] * 5 + [False], "a place without a label is known by its NaN"
    return made


def test_the_general_expert_everywhere_gains_nothing_and_owns_the_general_rows():
    cells = gate_ablation.routed(table(), torch.zeros(6, 3), Forced(0))
    # owner: liver 100 %, cord and tumour 0 %; specialised (0.3 + 0.3) / 2; general 0.8
    assert cells == ("33.3", "0.3000", "+0.0000", "0.8000", "-0.0000", "100.0%")


def test_the_true_task_gives_each_owner_its_rows():
    logits = 100 * F.one_hot(torch.tensor(OWNER), 3).float()
    # specialised: cord (0.6 + 0.8) / 2, tumour 0.5, against 0.3 and 0.3
    assert gate_ablation.routed(table(), logits, Argmax()) == (
        "100.0",
        "0.6000",
        "+0.3000",
        "0.8000",
        "-0.0000",
        "100.0%",
    )


def test_an_expert_everywhere_costs_the_general_rows_and_takes_the_places_without_a_label():
    cells = gate_ablation.routed(table(), torch.zeros(6, 3), Forced(1))
    # specialised: cord 0.7, tumour 0.1; general 0.15, a loss of 0.65
    assert cells == ("33.3", "0.4000", "+0.1000", "0.1500", "+0.6500", "0.0%")


def test_one_chosen_of_several_is_the_surest():
    logits = torch.tensor([[0.0, 2.0, 1.0]]).expand(6, -1)
    assert gate_ablation.routed(table(), logits, TopK(1)) == gate_ablation.routed(
        table(), torch.zeros(6, 3), Forced(1)
    )
