"""Tables are built once, and again when what they are made of changes."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.training.gate_recipes import train_gate
from sam_moe.training.gate_table import load_table


@pytest.mark.slow
def test_a_table_is_built_again_only_for_other_experts_or_data(team, gate_recipe):
    def asked(*changes):
        stages = []
        train_gate(gate_recipe(), changes, lambda stage, share: stages.append(stage))
        return {stage for stage in stages if stage.startswith("asking")}

    team.expert("old")
    trained_gate = train_gate(gate_recipe()).parent
    table = load_table(trained_gate / "table-train.safetensors")
    assert asked() == set()
    assert asked("data.validation=3") == {"asking the experts (validation)"}
    assert torch.equal(load_table(trained_gate / "table-train.safetensors").seen.pooled, table.seen.pooled)
    before, log = (trained_gate / "model.safetensors").read_bytes(), trained_gate / "log.jsonl"
    rows = log.read_text()
    assert asked("data.validation=3", "most_drop=0.1") == set()
    assert log.read_text() == rows
    assert asked("data.validation=3", "target=best") == {"asking the experts (train)"}
    assert (trained_gate / "model.safetensors").read_bytes() != before


@pytest.mark.slow
def test_an_expert_without_data_and_a_gate_too_heavy_are_refused(team, gate_recipe):
    old = team.expert("old")
    with pytest.raises(ConfigError, match="holds nothing for old"):
        train_gate(gate_recipe(experts=[{"expert": str(old), "structures": {"x": ["spleen"]}}]))
    with pytest.raises(ConfigError, match="make its `hidden` smaller"):
        train_gate(gate_recipe(hidden=4000))
