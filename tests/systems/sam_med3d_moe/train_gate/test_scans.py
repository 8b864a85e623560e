"""Tables are built once, and again when what they are made of changes."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.registry import read_card
from sam_moe.systems.sam_med3d_moe.train_gate.figures import GAINED, LEFT, LOST
from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate
from sam_moe.systems.sam_med3d_moe.train_gate.table import load_table


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


def refused(recipe, message):
    """Nothing is asked, and nothing warned of, before a recipe is refused."""
    stages = []
    with pytest.raises(ConfigError, match=message):
        train_gate(recipe, (), lambda stage, share: stages.append(stage))
    return stages


def test_what_the_scans_lack_is_reported_before_an_expert_is_asked(team, gate_recipe, splits, change, caplog):
    old = team.expert("old")
    wrong = gate_recipe(experts=[{"expert": str(old), "structures": {"x": ["spleen"]}}])
    assert refused(wrong, r"train part of .* holds nothing for old: no scan shows spleen, and") == [
        "reading scans (train)"
    ]
    change(splits, lambda s: s["sets"]["maps"].pop("validation"))
    assert (
        refused(
            gate_recipe(), r"splits\.json: expected an entry 'validation' in the set maps, found: train, test"
        )
        == []
    )
    splits.write_text("{")
    assert refused(gate_recipe(), r"splits\.json: not readable as JSON") == []
    assert refused(gate_recipe(hidden=4000), "make its `hidden` smaller") == []
    assert [r for r in caplog.records if r.levelname != "INFO"] == []


@pytest.mark.slow
def test_what_only_the_validation_part_lacks_is_warned_of_once(team, gate_recipe, splits, change, caplog):
    team.expert("old")
    change(splits, lambda s: s["sets"]["balls"].update(validation=[]))
    change(splits, lambda s: s["sets"]["maps"].update(validation=["n"]))
    train_gate(gate_recipe())
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "hold" in r.getMessage()]
    assert len(warned) == 1 and "validation part" in warned[0] and "holds nothing for old" in warned[0]


@pytest.mark.slow
def test_a_fused_selection_keeps_the_answers_that_measure_it(team, gate_recipe):
    team.expert("old")
    run = train_gate(gate_recipe(selection="top_k", k=2)).parent
    assert load_table(run / "table-validation.safetensors").answers is not None
    assert load_table(run / "table-train.safetensors").answers is None
    measured = {row.metric for row in read_card(run / "card.json").measured}
    assert {GAINED, LOST, LEFT} <= measured
