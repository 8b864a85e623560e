"""A house rule that a test can hold: adding a rule, a gate, an expert kind or a layout is one file.

Each is one module of another package, as pip leaves it: in a folder on Python's path, named by an entry
point. It is used through recipe or challenge, card and command line, in processes that know nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from sam_moe.weights.files import read_state, save_weights

pytestmark = pytest.mark.slow  # each verb is a process of its own

ROOT = Path(__file__).resolve().parents[2]

RULE = '''
"""A rule that always asks the general expert and the surest of the others, half each."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sam_moe.moe.selection import Selection


@dataclass(frozen=True)
class Halves:
    general: float = 0.5
    name: ClassVar[str] = "halves"

    def select(self, confidence):
        best = 1 + confidence[..., 1:].argmax(dim=-1)
        chosen = torch.stack([torch.zeros_like(best), best], dim=-1)
        weights = torch.tensor([self.general, 1 - self.general]).to(confidence).expand(chosen.shape)
        return Selection(chosen, weights, torch.zeros_like(best, dtype=torch.bool))

    def explain(self, confidence, chosen):
        return tuple("half and half" for _ in range(confidence[..., 0].numel()))

    def describe(self, experts=()):
        return f"the general one by {self.general:g} and the surest of the others"
'''

GATE = '''
"""A gate that looks at the prompt's place alone."""

import torch
from torch import nn

from sam_moe.moe.gate import Gate, GateColumn


class AtPrompt(Gate):
    kind = "at_prompt"

    def __init__(self, shape, experts):
        super().__init__(shape, experts)
        self.columns = nn.ModuleList(GateColumn(shape.features) for _ in range(experts))

    def hidden(self, seen):
        return self._parts(seen)[self.shape.parts.index("at_prompt")]
'''

KIND = '''
"""Experts that move the biases of their base's decoder alone (BitFit, arXiv 2106.10199)."""

import copy

from pydantic import Field

from sam_moe.config import Record
from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.systems.sam_med3d_moe.experts import Kind


class Share(Record):
    strength: float = Field(1.0, gt=0, description="Factor on how far the biases move.")


class Biases(Kind):
    record = Share

    def recognises(self, state, base):
        return all(name.endswith("bias") for name in state)

    def take(self, state, base, settings, where):
        known = {name for name, _ in base.mask_decoder.named_parameters() if name.endswith("bias")}
        if set(state) != known:
            raise WeightsError(f"{where}: holds other tensors than the decoder's {len(known)} biases.")
        return dict(state)

    def build(self, state, base, card, where):
        strength = self.settings(card, where).strength
        decoder = copy.deepcopy(base.mask_decoder)
        for name, bias in decoder.named_parameters():
            if name in self.take(state, base, None, where):
                bias.data += strength * (state[name].to(bias) - bias)
        return decoder.eval().requires_grad_(False)

    def learner(self, decoder, settings, seed, start=None):
        learner = copy.deepcopy(decoder)
        for name, parameter in learner.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        return learner

    def stored(self, learner, weights):
        return {name: tensor for name, tensor in weights.items() if name.endswith("bias")}
'''

LAYOUT = '''
"""Scans and label maps side by side: NAME.scan.nii.gz and NAME.truth.nii.gz."""

from sam_moe.cases.source import FoundCase


def find(source, root):
    scans = sorted(root.glob("*.scan.nii.gz"))
    names = [scan.name.removesuffix(".scan.nii.gz") for scan in scans]
    return [FoundCase(n, {"image": s}, root / f"{n}.truth.nii.gz") for n, s in zip(names, scans)]
'''

OFFERS = {
    "sam_moe.rules": ("halves", "my_rule", RULE, "Halves"),
    "sam_moe.gates": ("at_prompt", "my_gate", GATE, "AtPrompt"),
    "sam_moe.expert_kinds": ("biases", "my_kind", KIND, "Biases"),
    "sam_moe.layouts": ("side_by_side", "my_layout", LAYOUT, "find"),
}


@pytest.fixture
def offer(tmp_path):
    """Installs the one file of a group as pip would; the folder to put on Python's path."""

    def put(*groups):
        site = tmp_path / "site"
        info = site / "others-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        points = ""
        for group in groups:
            name, module, code, attribute = OFFERS[group]
            (site / f"{module}.py").write_text(code.lstrip())
            points += f"[{group}]\n{name} = {module}:{attribute}\n"
        (info / "entry_points.txt").write_text(points)
        return site

    return put


@pytest.fixture
def sam_moe(tmp_path):
    """Runs the command in a process of its own, with other packages on Python's path; what it wrote."""

    def run(*words, site, fails=False):
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
        command = [sys.executable, "-m", "sam_moe", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def test_a_rule_and_a_gate_are_one_file_each(offer, sam_moe, team, gate_recipe, folder, tmp_path):
    site = offer("sam_moe.rules", "sam_moe.gates")
    team.expert("old")
    few = {"steps": 2, "batch_size": 4, "save_every": 2, "log_every": 1}
    sam_moe("experts", "add", tmp_path / "experts" / "old", site=site)
    recipe = gate_recipe(
        experts=[{"expert": "old", "structures": {"a box": ["balls/box"]}}],
        kind="at_prompt",
        selection="halves",
        selection_settings={"general": 0.25},
        schedule=few,
        turns=1,
    )
    unknown = sam_moe("train-gate", recipe, "--set", "selection=halfs", site=site, fails=True)
    assert "selection: selection rule 'halfs' is unknown. Known, nearest first: halves" in unknown
    sam_moe("train-gate", recipe, site=site)
    card = json.loads((tmp_path / "gate" / "card.json").read_text())
    assert card["architecture"]["kind"] == "at_prompt"
    assert (card["selection"], card["selection_settings"]) == ("halves", {"general": 0.25})
    assert set(read_state(tmp_path / "gate" / "model.safetensors")) == {
        f"columns.{column}.{part}" for column in (0, 1) for part in ("weight", "bias")
    }
    shown = sam_moe("checkpoints", "show", tmp_path / "gate", site=site)
    assert "the general one by 0.25 and the surest of the others" in " ".join(shown.split())
    scan, words = next(folder.glob("balls/d.nii.gz")), ["--point", 12, 10, 8, "--model", tmp_path / "gate"]
    answered = sam_moe("predict", scan, *words, "--out", tmp_path / "m.nii.gz", "--explain", site=site)
    assert "half and half" in answered
    lost = sam_moe("checkpoints", "show", tmp_path / "gate", site=ROOT, fails=True)
    assert "selection rule 'halves' is unknown" in lost or "kind of gate 'at_prompt' is unknown" in lost


def test_an_expert_kind_is_one_file(offer, sam_moe, team, task, folder, tmp_path):
    site = offer("sam_moe.expert_kinds")
    few = {"steps": 2, "batch_size": 2, "save_every": 2}
    recipe = task(
        base="tiny-base", kind="biases", settings={"strength": 2.0}, schedule=few, regions=4, store="float32"
    )
    unknown = sam_moe("finetune", recipe, "--set", "settings.strength=0", site=site, fails=True)
    assert "settings: strength: " in unknown and "greater than 0" in unknown
    sam_moe("finetune", recipe, site=site)
    run = tmp_path / "expert"
    card = json.loads((run / "card.json").read_text())
    assert (card["expert_kind"], card["settings"]) == ("biases", {"strength": 2.0})
    learnt = read_state(run / "model.safetensors")
    decoder = team.model.mask_decoder.state_dict()
    assert set(learnt) == {name for name in decoder if name.endswith("bias")}
    assert "biases on tiny-base" in sam_moe("experts", "add", run, site=site)
    assert "biases" in sam_moe("experts", "list", site=site)
    assert "ball: biases on tiny-base" in sam_moe("experts", "check", "ball", site=site)
    scan, point = next(folder.glob("balls/d.nii.gz")), ["--point", 12, 10, 8]
    sam_moe("predict", scan, *point, "--model", "ball", "--out", tmp_path / "m.nii.gz", site=site)
    # by a card alone: half as far, as a person writes it
    save_weights({name: decoder[name] + 1 for name in learnt}, tmp_path / "moved.safetensors")
    draft = {key: card[key] for key in ("title", "covers", "licence", "not_for", "expert_kind")}
    draft |= {"id": "moved", "base": {"id": "tiny-base"}, "settings": {"strength": 0.5}}
    (tmp_path / "moved.json").write_text(json.dumps(draft))
    sam_moe("experts", "add", tmp_path / "moved.safetensors", "--card", tmp_path / "moved.json", site=site)
    program = (
        "import sam_moe; model = sam_moe.load('moved', device='cpu').network.module;"
        "print(model.mask_decoder.iou_prediction_head.layers[0].bias.tolist())"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    loaded = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    expected = decoder["iou_prediction_head.layers.0.bias"] + 0.5
    torch.testing.assert_close(torch.tensor(json.loads(loaded.stdout)), expected)
    # by its tensors alone, with the kind's own defaults
    (tmp_path / "shown.json").write_text(
        json.dumps({k: v for k, v in draft.items() if k not in ("expert_kind", "settings")} | {"id": "shown"})
    )
    added = sam_moe(
        "experts", "add", tmp_path / "moved.safetensors", "--card", tmp_path / "shown.json", site=site
    )
    assert "shown: biases on tiny-base" in added
    lost = sam_moe("experts", "list", site=ROOT, fails=True)
    assert "expert kind 'biases' is unknown. Known, nearest first: " in lost


def test_a_layout_is_one_file(offer, sam_moe, team, folder, tmp_path):
    site = offer("sam_moe.layouts")
    (tmp_path / "pairs").mkdir()
    for case in ("a", "b"):
        for suffix, name in (("scan", f"{case}.nii.gz"), ("truth", f"{case}_label.nii.gz")):
            (folder / "balls" / name).rename(tmp_path / "pairs" / f"{case}.{suffix}.nii.gz")
    challenge = {
        "name": "pairs",
        "sets": [{"layout": "side_by_side", "root": "./pairs"}],
        "labels": {"ball": [1]},
        "protocol": "click",
    }
    (tmp_path / "challenge.yaml").write_text(yaml.safe_dump(challenge))
    words = ["evaluate", tmp_path / "challenge.yaml", "--system", "tiny-base", "--out", tmp_path / "result"]
    sam_moe(*words, site=site)
    rows = (tmp_path / "result" / "rows.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0].split(",").index("case") >= 0
    assert {row.split(",")[rows[0].split(",").index("case")] for row in rows[1:]} == {"a", "b"}
    lost = sam_moe(*words, site=ROOT, fails=True)
    assert "layout: layout 'side_by_side' is unknown. Known, nearest first: " in lost
