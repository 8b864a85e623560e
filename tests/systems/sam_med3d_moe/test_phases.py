"""The phases of the first paper, in their order; what they name is what the trainings let learn."""

import torch

from sam_moe.moe.rule_settings import read_rule
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.system import tensors_of
from sam_moe.systems.sam_med3d_moe.experts.decoder import Decoder
from sam_moe.systems.sam_med3d_moe.phases import phases_of
from sam_moe.systems.sam_med3d_moe.pretrain.learner import let_learn
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import fresh_gate
from tests.systems.sam_med3d_moe.small import SIZES, system


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


def learnt(module, where):
    """The names in the system of a module's parameters that its training lets learn."""
    return {f"{where}.{name}" for name, p in module.named_parameters() if p.requires_grad}


def named(mixture, phase):
    tensors = tensors_of(mixture)
    return {name for name in phase.names(tensors) if isinstance(tensors[name], torch.nn.Parameter)}


def test_each_training_lets_learn_exactly_what_its_phase_names():
    mixture = system(Dense(), 2)
    pretrain, finetune, _, gate = mixture.phases()
    assert named(mixture, pretrain) == learnt(let_learn(mixture.backbone), "backbone")
    learner = Decoder().learner(mixture.backbone.mask_decoder, None, 0)
    assert named(mixture, finetune) == learnt(learner, "experts.expert-0")
    assert named(mixture, gate) == learnt(fresh_gate(SIZES.out_channels, 3, 8, "both", 0), "gate")


def test_heads_that_no_training_asks_are_kept():
    mixture = system(Dense(), 1)
    pretrain, finetune, _ = mixture.phases()
    kept = set(tensors_of(mixture)) - named(mixture, pretrain) - named(mixture, finetune)
    for decoder in ("backbone.mask_decoder", "experts.expert-0"):
        assert f"{decoder}.iou_prediction_head.layers.0.weight" in kept
        assert f"{decoder}.output_hypernetworks_mlps.3.layers.0.weight" in kept
        assert f"{decoder}.output_hypernetworks_mlps.0.layers.0.weight" not in kept
