"""M4oE keeps the contract of all systems: on both hosts, by slice and by token, with the public gate too."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch.utils.data import Dataset

from sam_moe.moe.dispatching.wide import FeedForward
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.uniform import Uniform
from sam_moe.registry import read_entry
from sam_moe.systems.m4oe.load import load
from sam_moe.systems.m4oe.train.learner import SlicesLoss
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule
from tests.registry.conftest import make_automatic_card
from tests.systems.contract import EXPERTS, Contract, Traits
from tests.systems.m4oe import tiny
from tests.systems.m4oe.automatics import tiny_network, write_automatic

STEPS = 4


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


class Drawn(Dataset):
    """Noise with labels of noise, by number."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __getitem__(self, number):
        rng, edge, head = torch.Generator().manual_seed(number), self.sizes.image_size, number % 3
        contoured = torch.zeros(max(tiny.CLASSES), dtype=torch.bool)
        contoured[: tiny.CLASSES[head]] = True
        return {
            "image": torch.randn(3, edge, edge, generator=rng),
            "target": torch.randint(tiny.CLASSES[head], (edge, edge), generator=rng),
            "contoured": contoured,
            "set": torch.tensor(head),
            "scan": torch.tensor(number),
        }


def sets_of(experts):
    """Three data sets with as many labels as the heads of the tiny networks, each with its own expert."""
    plain = make_automatic_card()["sets"][0]
    names = ("cord", "larynx")
    return [
        {**plain, "id": f"set-{n}", "expert": id, "labels": [{"name": name} for name in names[: classes - 1]]}
        for n, (id, classes) in enumerate(zip(experts, tiny.CLASSES, strict=True))
    ]


class OfM4oE(Contract):
    """What all have in common."""

    rule, sizes, mixture, gates = Dense(), tiny.CONV, MappingProxyType({"pooling": "slice"}), True
    traits = Traits("prompt", general=False)

    @pytest.fixture(autouse=True)
    def card(self, tmp_path_factory):
        path = tmp_path_factory.mktemp("light") / "card.json"
        path.write_text(json.dumps(self.fields(EXPERTS)))
        self.light = (
            "from pathlib import Path\n"
            "from sam_moe.registry import read_card\n"
            "from sam_moe.systems.m4oe.recipe import check_recipe\n"
            f"assert read_card({str(path)!r}).architecture.classes == {tiny.CLASSES}\n"
            "recipe = check_recipe('train', Path('checkpoints/auto-small/recipe.yaml'))\n"
            "assert recipe.owners == (0, 1, 2)"
        )

    def fields(self, experts):
        mixture = tiny.mixture_of(experts, **self.mixture)
        changes = {
            "architecture": self.sizes.model_dump(mode="json"),
            "mixture": mixture.model_dump(mode="json"),
        }
        return make_automatic_card(sets=sets_of(mixture.experts[:3]), **changes)

    def make(self, rule, experts):
        system = tiny.network(self.sizes, tiny.mixture_of(experts, **self.mixture), gates=self.gates)
        for site in system.sites().values():
            site.rule, site.kind = rule, replace(site.kind, dispatch="grouped")
        self.next = iter(site.experts[site.ids[0]] for site in system.sites().values())
        return system.double()

    def new(self):
        like = next(self.next)
        return FeedForward(like.first.in_features, like.first.out_features).double()

    def batch(self, rows):
        batch = tiny.batch(self.sizes, rows)
        return batch._replace(
            images=batch.images.double()
        )  # the deep host rounds more than the sentences allow

    def alone(self, system, index, batch):
        with torch.no_grad():
            return tiny.host_with(system, tiny.IDS[index])(batch.images, batch.heads)

    def host(self, system, batch):
        with torch.no_grad():
            return tiny.host_with(system, None)(batch.images, batch.heads)

    def kept(self, folder):
        fields = self.fields(EXPERTS)
        entry = write_automatic(folder, **{key: fields[key] for key in ("architecture", "mixture", "sets")})

        def on_another():
            card = json.loads(entry.path.read_text())
            card["architecture"]["mlp_ratio"] = 3
            entry.path.write_text(json.dumps(card))
            return load(read_entry(entry.path), None, "cpu", None)

        return (
            tiny_network(entry.card).double(),
            lambda: load(entry, None, "cpu", None).network.module.double(),
            on_another,
        )

    def trained(self, folder, stop=False):
        model = tiny.network(self.sizes, tiny.mixture_of(**self.mixture)).train()

        def report(row):
            if stop and row["step"] == STEPS // 2:
                raise Stopped

        schedule = Schedule(STEPS, 3, 0.01, warmup=1, save_every=1, log_every=1)
        samples, run = Samples(Drawn(self.sizes)), Run(folder, 1)
        try:
            loss = SlicesLoss(model, "gated")
            return train(
                Learner(loss, model), samples, schedule, run, reporting=Reporting(row=report)
            ).weights
        except Stopped:
            return None


class TestConvBySlice(OfM4oE):
    pass


class TestConvByToken(OfM4oE):
    mixture, traits = MappingProxyType({"pooling": "token", "ungated": 0}), Traits("token", general=False)


class TestSwinBySlice(OfM4oE):
    sizes = tiny.SWIN


class TestSwinByToken(OfM4oE):
    sizes, mixture = tiny.SWIN, MappingProxyType({"pooling": "token"})
    traits = Traits("token", general=False)


class TestPublicChannelGate(OfM4oE):
    """All experts are added and their channels weighed, so it does not matter which expert is which."""

    rule, gates = Uniform(raw=True), False
    mixture = MappingProxyType({"scores": "channel", "pooling": "token", "ungated": 0})
    traits = Traits("token", sums_to_one=False, general=False, permutable=False)
