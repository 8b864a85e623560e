"""A training that gained nothing says so, and is not recommended."""

from pathlib import Path

import pytest

from sam_moe.registry import (
    Base,
    Cover,
    ExpertCard,
    ExpertRef,
    GateCard,
    GateSizes,
    Measurement,
    Weights,
    read_card,
)
from sam_moe.systems.sam_med3d_moe.outcome import of_expert, of_gate
from sam_moe.systems.sam_med3d_moe.train_gate.figures import GAINED, LEFT, LOST
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.card import ITSELF, measurements

SHIPPED = Path(__file__).resolve().parents[3] / "checkpoints"
WEIGHTS = Weights(file="model.safetensors", sha256="1" * 64, size_bytes=1, dtype="float32")
BASE = Base(id="small", sha256="0" * 64)
WORDS = {"title": "T", "licence": "MIT", "not_for": "Anything.", "base": BASE, "weights": WEIGHTS}


def expert(own, general):
    measured = measurements(Kept({}, 9, own), "4 regions")
    measured += measurements(Kept({}, 0, general), "4 regions", ITSELF.format("small"))
    covers = (Cover(structure="cord", modality="CT"),)
    return ExpertCard(id="cord", expert_kind="decoder", covers=covers, measured=measured, **WORDS)


def gate(threshold=0.5, **figures):
    names = {"gained": GAINED, "lost": LOST, "left": LEFT}
    measured = tuple(Measurement(metric=names[name], value=v, data="here") for name, v in figures.items())
    refs = (ExpertRef(**BASE.model_dump()), ExpertRef(id="cord", sha256="1" * 64))
    sizes = GateSizes(features=6, hidden=4, columns=2)
    how = {"selection": "threshold" if threshold is not None else "argmax", "threshold": threshold}
    return GateCard(id="moe", experts=refs, architecture=sizes, measured=measured, **how, **WORDS)


def test_an_experts_dice_stands_beside_the_general_models():
    found = of_expert(
        expert({"click1": 0.5, "mask3": 0.7, "score": 0.6}, {"click1": 0.2, "mask3": 0.3, "score": 0.25})
    )
    assert found.text.splitlines() == [
        "Dice, asked by                                     cord   small  gained",
        "a click                                           0.500   0.200  +0.300",
        "a box drawn as a mask, then 2 correcting clicks   0.700   0.300  +0.400",
        "mean                                              0.600   0.250  +0.350",
        "on 4 regions",
    ]
    assert found.recommended and found.warnings == ()


def test_an_expert_that_is_worse_is_warned_of_and_not_recommended():
    found = of_expert(expert({"click1": 0.1, "score": 0.2}, {"click1": 0.2, "score": 0.25}))
    assert not found.recommended
    assert "cord is no better than the general model small (0.200 against 0.250)" in found.warnings[0]


def test_a_way_of_asking_in_which_it_is_worse_is_named():
    found = of_expert(
        expert({"click1": 0.1, "mask1": 0.6, "score": 0.4}, {"click1": 0.2, "mask1": 0.3, "score": 0.25})
    )
    assert found.recommended and found.warnings == ("cord is worse than small when asked by a click",)


def test_an_expert_without_validation_is_told_of():
    assert "nothing was held against small" in of_expert(expert({}, {})).warnings[0]


@pytest.mark.parametrize("id", ["esophagus", "spinal-cord", "hippocampus", "soft-tissue-tumour"])
def test_the_experts_that_ship_gained(id):
    found = of_expert(read_card(SHIPPED / id / "card.json"))
    assert found.recommended and len(found.text.splitlines()) == 12


def test_a_gate_tells_threshold_gain_loss_and_what_is_left():
    found = of_gate(gate(gained=0.14, lost=0.0014, left=0.12), 0.005)
    assert found.text == (
        "threshold 0.5; the experts' structures gain 0.140 Dice on average; a general one loses at most "
        "0.0014; 12% of the experts' prompts are left to small"
    )
    assert found.recommended and found.warnings == ()
    assert "; no general one loses; " in of_gate(gate(gained=0.14, lost=-0.00001, left=0.12), 0.005).text


@pytest.mark.parametrize(
    ("threshold", "figures", "warning"),
    [
        (1.0, {"gained": 0.0, "lost": 0.0, "left": 1.0}, "gains nothing over small alone"),
        (0.98, {"gained": 0.01, "lost": 0.0, "left": 0.97}, "97% of the experts' prompts are left"),
        (None, {"gained": 0.2, "lost": 0.3, "left": 0.0}, "loses 0.3000 Dice, more than most_drop 0.005"),
        (None, {"left": 0.2}, "was not measured"),
    ],
)
def test_a_gate_that_does_not_help_is_warned_of_and_not_recommended(threshold, figures, warning):
    found = of_gate(gate(threshold, **figures), 0.005)
    assert not found.recommended and any(warning in told for told in found.warnings)


def test_a_threshold_that_loses_too_much_is_not_recommended():
    assert not of_gate(gate(gained=0.2, lost=0.1, left=0.1), 0.005).recommended


def test_the_gate_that_ships_gained():
    found = of_gate(read_card(SHIPPED / "small-moe" / "card.json"), 0.005)
    assert found.recommended and "structures gain 0.1" in found.text
