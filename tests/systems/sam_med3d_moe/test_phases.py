"""The phases of the first paper, in their order."""

from sam_moe.moe.rule_settings import read_rule
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.systems.sam_med3d_moe.phases import phases_of


def test_the_general_model_comes_first_then_each_expert_then_the_gate():
    found = [(phase.name, phase.learns, read_rule(phase.rule)) for phase in phases_of(["body", "cord"])]
    assert found == [
        ("pretrain", ("backbone.*",), Forced(0)),
        ("finetune cord", ("experts.cord.*",), Forced(1)),
        ("train-gate", ("gate.*",), Dense()),
    ]


def test_a_phase_of_one_expert_names_nothing_of_another_whose_id_begins_alike():
    _, liver, other, _ = phases_of(["body", "liver", "liver.v2"])
    assert (liver.learns, other.learns) == (("experts.liver.*",), ("experts.liver:v2.*",))
