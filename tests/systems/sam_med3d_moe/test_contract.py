"""SAM-Med3D-MoE keeps the contract of all systems."""

import json

import pytest
import torch
from torch import nn

from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.registry import read_entry
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_mixture
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE
from tests.systems.contract import Contract, Traits
from tests.systems.sam_med3d_moe.conftest import SMALL
from tests.systems.sam_med3d_moe.mixtures import write_mixture
from tests.systems.sam_med3d_moe.small import batch_of, system
from tests.systems.sam_med3d_moe.train_gate.tables import learn


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


class TestSamMed3DMoE(Contract):
    traits, rule = Traits("prompt"), Threshold(0.4)
    light = (
        "from sam_moe.config import load_settings\n"
        "from sam_moe.registry import read_card\n"
        "from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe\n"
        "card = read_card('checkpoints/small-moe/card.json')\n"
        "recipe = load_settings(GateRecipe, 'checkpoints/small-moe/recipe.yaml')\n"
        "assert [ref.id for ref in card.experts[1:]] == [one.expert for one in recipe.experts]"
    )

    @pytest.fixture(autouse=True)
    def folders(self, shipped, cache, checkpoint):
        self.shipped, self.checkpoint = shipped, checkpoint

    def make(self, rule, experts):
        return system(rule, experts - 1, SMALL)

    def batch(self, rows):
        return batch_of(rows, SMALL)

    def alone(self, system, index, batch):
        with torch.no_grad():
            host, decoder = system.backbone, system.bank.decoder(index)
            tokens = host.encode_prompt(*batch.prompt)
            at = host.prompt_encoder.dense_map()
            return decoder(host.encode(batch.image), at, tokens.sparse, tokens.dense).logits

    def host(self, system, batch):
        with torch.no_grad():
            return system.backbone(batch.image, *batch.prompt)

    def permuted(self, system, order, columns):
        ids, gate = system.bank.ids, system.gate
        if columns:
            gate.columns = nn.ModuleList(gate.columns[n] for n in order)
        make, general = system.bank._make, system.bank.general
        bank = ExpertBank([ids[n] for n in order], make, general)
        return SamMed3DMoE(system.backbone, bank, gate, system.selection)

    def oracle(self, system, batch):
        with torch.no_grad():
            (routing,) = system.forward(batch)[1].values()
            alone = torch.stack([self.alone(system, n, batch) for n in range(len(routing.ids))], dim=1)
            return (alone * routing.weights[..., None, None, None, None]).sum(dim=1)

    def kept(self, folder):
        convert(self.checkpoint, self.shipped, "small")
        entry = write_mixture(self.shipped, "small", ("decoder", "lora"))
        first = load_mixture(entry)

        def on_another_base():
            card = json.loads(entry.path.read_text())
            card["base"]["sha256"] = card["experts"][0]["sha256"] = "0" * 64
            entry.path.write_text(json.dumps(card))
            return load_mixture(read_entry(entry.path))

        return first, lambda: load_mixture(entry), on_another_base

    def trained(self, folder, stop=False):
        def report(row):
            if stop and row["step"] == 5:
                raise Stopped

        try:
            return learn(folder, report=report).weights
        except Stopped:
            return None
