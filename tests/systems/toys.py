"""Tiny hosts with experts at each granularity, made of the parts of `sam_moe.moe` alone.

By prompt: decoders of an embedding. By token: the FFN of each of two blocks. By pixel: maps of an image,
which each place weighs for itself.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sam_moe.moe.experts import key_of
from sam_moe.moe.gate import Gate, GateShape
from sam_moe.moe.gates._making import make_gate
from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import SelectionRule
from sam_moe.moe.site import MoESite, Plugged, SiteKind, routings
from sam_moe.moe.system import Phase

WIDTH = 6
IDS = ("general", "first", "second", "third", "fourth")

Make = Callable[[], nn.Module]


def seeded(seed: int, make: Make) -> nn.Module:
    """A module whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def ffn() -> nn.Module:
    """A block's FFN; also a decoder of an embedding."""
    return nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


class MapOf(nn.Module):
    """An image `[b, c, h, w]` becomes a map of logits `[b, h, w]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[:, 0]


def decided(gate: Gate, seed: int) -> Gate:
    """The gate with weights by noise, so that it prefers some experts."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, generator=rng)
    return gate


def gate_of(kind: str, experts: int, seed: int) -> Gate:
    return decided(make_gate(kind, GateShape(WIDTH, hidden=4), experts), seed)


class Toy(nn.Module):
    """What the toys share; `trunk` is the host's own part before the sites."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.trunk = seeded(base, lambda: nn.Linear(WIDTH, WIDTH))

    def sites(self) -> dict[str, MoESite]:
        raise NotImplementedError

    def experts(self) -> Mapping[str, nn.Module]:
        """An expert's modules of all sites."""
        sites = list(self.sites().values())
        return {id: nn.ModuleList(site.experts[id] for site in sites) for id in sites[0].ids}


class ByPrompt(Toy):
    """A decoder a prompt, chosen by a gate with a trunk."""

    def __init__(self, rule: SelectionRule, experts: int, base: int = 0) -> None:
        super().__init__(base)
        decoders = {id: seeded(base if n == 0 else n, ffn) for n, id in enumerate(IDS[:experts])}
        gate = gate_of("trunk", experts, 1)
        self.site = MoESite(decoders, gate, rule, SiteKind("prompt", fusion="logits"))

    def sites(self) -> dict[str, MoESite]:
        return {"decoder": self.site}

    def phases(self) -> tuple[Phase, ...]:
        finetuned = [
            Phase(f"finetune {id}", (f"site.experts.{key_of(id)}.*",), rule=f"forced:index={n}")
            for n, id in enumerate(self.site.ids)
            if n
        ]
        return (*finetuned, Phase("gate", ("site.gate.*",), rule="dense"))

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Routing]]:
        y, routing = self.site(self.trunk(batch))
        return y, {"decoder": routing}


class Block(nn.Module):
    """A residual block, as a library's: it expects a tensor of its FFN."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(WIDTH), mlp

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class ByToken(Toy):
    """Two blocks whose FFN is a site, as M4oE's: every expert runs on every token, all weights learn."""

    def __init__(self, rule: SelectionRule, experts: int, base: int = 0) -> None:
        super().__init__(base)
        self.rule = rule
        self.blocks = nn.ModuleList(
            Block(Plugged(self._site(n, rule, experts, base), f"block {n}")) for n in range(2)
        )

    def _site(self, n: int, rule: SelectionRule, experts: int, base: int) -> MoESite:
        ffns = {id: seeded(10 * n + (base if e == 0 else e), ffn) for e, id in enumerate(IDS[:experts])}
        return MoESite(ffns, gate_of("linear", experts, n), rule, SiteKind("token", dispatch="dense"))

    def sites(self) -> dict[str, MoESite]:
        return {block.mlp.name: block.mlp.site for block in self.blocks}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("all", ("*",), rule="dense"),)

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Routing]]:
        with routings() as found:
            x = self.trunk(batch)
            for block in self.blocks:
                x = block(x)
        return x, found


class Shared(ByToken):
    """As Med-MoE: raw top-1 of the routed experts added to one that always runs, one gate for all sites."""

    def __init__(self, rule: SelectionRule, experts: int, base: int = 0) -> None:
        self.one_gate = [gate_of("linear", experts, 3)]
        super().__init__(rule, experts, base)

    def _site(self, n: int, rule: SelectionRule, experts: int, base: int) -> MoESite:
        ffns = {id: seeded(10 * n + e, ffn) for e, id in enumerate(IDS[:experts])}
        meta = seeded(50 + n + base, ffn)
        return MoESite(ffns, self.one_gate[0], rule, SiteKind("token"), shared=meta)

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("align", ("trunk.*",)),
            Phase("router", ("*.gate.*",), rule="dense"),
            Phase("experts", ("*.experts.*", "*.shared.*"), rule="top_k:k=1,raw=true"),
        )


class ByPixel(Toy):
    """Maps of an image, voted on at each place by what the trunk makes of it there."""

    def __init__(self, rule: SelectionRule, experts: int, base: int = 0) -> None:
        super().__init__(base)
        maps = {id: seeded(base if n == 0 else n, MapOf) for n, id in enumerate(IDS[:experts])}
        kind = SiteKind("pixel", fusion="probabilities")
        self.site = MoESite(maps, gate_of("linear", experts, 2), rule, kind)

    def sites(self) -> dict[str, MoESite]:
        return {"output": self.site}

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("experts", ("site.experts.*",), rule="dense"),
            Phase("vote", ("site.gate.*",), rule="dense"),
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Routing]]:
        seen = self.trunk(batch.movedim(1, -1))
        y, routing = self.site(batch, seen)
        return y, {"output": routing}
