"""One command leads from data, a backbone and experts to a gate with its card."""

import json
import sys

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import sha256_of
from sam_moe.registry import GateCard, read_card, read_entry
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_gate, selection_of
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


OTHERS = """
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
import torch
from sam_moe.moe.gates.linear import Linear
from sam_moe.moe.selection import Selection, never, single

@dataclass(frozen=True)
class Last:
    "The expert of the last column, from a confidence on."
    name: ClassVar[str] = "last"
    least: float = 0.0

    def select(self, confidence):
        last = torch.full_like(confidence[..., 0], confidence.shape[-1] - 1, dtype=torch.long)
        return single(last.where(confidence[..., -1] >= self.least, 0), never(confidence), confidence)

    def explain(self, confidence, chosen):
        return ("last",) * len(confidence)

    def describe(self, experts: Sequence[str] = ()):
        return f"the last from {self.least:g}"

class Wide(Linear):
    kind = "wide"
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """Another package with a rule and a kind of gate."""
    place = tmp_path / "others" / "others-1.0.dist-info"
    place.mkdir(parents=True)
    (tmp_path / "others" / "others.py").write_text(OTHERS)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    points = "[sam_moe.rules]\nlast = others:Last\n[sam_moe.gates]\nwide = others:Wide\n"
    (place / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path / "others")
    yield
    sys.modules.pop("others", None)


@pytest.mark.slow
def test_a_gate_and_a_rule_of_another_package_are_trained_shipped_and_loaded(team, gate_recipe, others):
    team.expert("old")
    changes = ["selection=last", "selection_settings.least=0.25", "kind=wide", "mode=image"]
    run = train_gate(gate_recipe(), changes).parent
    card = read_card(run / "card.json")
    assert (card.selection, card.rule_settings, card.architecture.kind) == ("last", {"least": 0.25}, "wide")
    assert (card.threshold, card.k, card.curve) == (None, None, ())
    assert all("the last from 0.25" in row.protocol for row in card.measured)
    assert selection_of(card).least == 0.25
    assert type(load_gate(read_entry(run / "card.json"), team.model)).__name__ == "Wide"


@pytest.mark.slow
def test_a_rule_that_always_asks_one_expert_is_a_control(team, gate_recipe):
    team.expert("old")
    changes = ["selection=forced", "selection_settings.index=old"]
    card = read_card(train_gate(gate_recipe(), changes).parent / "card.json")
    assert (card.selection, card.forced, card.selection_settings) == ("forced", "old", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["selection=topk"], r"selection rule 'topk' is unknown. Known, nearest first: top_k"),
        (["kind=trunck"], r"kind of gate 'trunck' is unknown. Known, nearest first: trunk"),
        (["selection=argmax", "selection_settings.raww=1"], r"rule 'argmax' has no setting 'raww'"),
        (["selection_settings.tau=0.5"], r"selection_settings.tau is chosen on the validation part"),
        (["selection=top_k", "k=1", "selection_settings.k=2"], r"selection_settings.k is this recipe's 'k'"),
        (["selection=top_k", "k=1", "selection_settings.raw=true"], r"keeps raw confidences.*`raw` out"),
        (["selection=forced", "selection_settings.index=odl"], r"'odl' is not among the experts.*first: old"),
    ],
)
def test_a_rule_that_cannot_be_made_is_refused_before_anything_is_read(team, gate_recipe, changes, message):
    team.expert("old")
    stages = []
    with pytest.raises(ConfigError, match=message):
        train_gate(gate_recipe(), changes, lambda stage, share: stages.append(stage))
    assert stages == []
