"""One command leads from data, a backbone and experts to a gate with its card."""

import json

import pytest

from sam_moe.config import load_settings
from sam_moe.files import sha256_of
from sam_moe.registry import GateCard, read_card, read_entry
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_gate
from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
from sam_moe.training.engine.runlog import hours_of, read_rows
from sam_moe.weights.checksums import fingerprint


@pytest.mark.slow
def test_a_recipe_becomes_a_gate_with_its_card(team, gate_recipe):
    old = team.expert("old")
    stages = []
    path = train_gate(gate_recipe(), ["seed=3"], lambda stage, share: stages.append(stage))
    run = path.parent
    card = read_card(run / "card.json")
    assert isinstance(card, GateCard)
    assert [ref.id for ref in card.experts] == ["tiny-base", "old"]
    assert card.experts[1].sha256 == sha256_of(old / "model.safetensors")
    assert card.base.sha256 == fingerprint(team.model)
    assert (card.selection, card.weights.sha256) == ("threshold", sha256_of(path))
    assert card.threshold in {point.threshold for point in card.curve}
    assert "--set seed=3" in card.made_by.command and card.made_by.data == ("balls", "maps")
    assert load_gate(read_entry(run / "card.json"), team.model).experts == 2
    assert {"curve.csv", "curve.png", "recipe.yaml", "log.jsonl"} < {p.name for p in run.iterdir()}
    assert load_settings(GateRecipe, run / "recipe.yaml").seed == 3
    asked = sum(json.loads((run / "tables.json").read_text()).values()) / 3600
    learnt = hours_of(read_rows(run), 8)
    assert card.made_by.hours == pytest.approx(asked + learnt, abs=1e-4) and asked > 0
    assert list(dict.fromkeys(stages)) == [
        "reading scans (train)",
        "reading scans (validation)",
        "asking the experts (train)",
        "asking the experts (validation)",
        "training the gate",
    ]
