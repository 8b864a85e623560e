"""Tiny M4oE networks of three experts on either host, their batches, and the hosts with one expert alone."""

import torch
from torch import nn

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.registry import ExpertMixture
from sam_moe.systems.m4oe.model import Slices
from sam_moe.systems.m4oe.train.learner import fresh_model
from tests.systems.toys import decided

IDS = ("ct", "mr-t2", "mr-t1", "pet")
CLASSES = (3, 3, 3)
CONV = ConvSizes(image_size=8, widths=(4, 6, 8), site_levels=2, mlp_ratio=2, classes=CLASSES)
SWIN = SwinSizes(
    image_size=32,
    embed_dim=4,
    depths=(1, 1, 1, 1),
    heads=(1, 2, 2, 4),
    window=4,
    mlp_ratio=2,
    classes=CLASSES,
)


def mixture_of(experts=3, **choices):
    return ExpertMixture(experts=IDS[:experts], **choices)


def network(sizes, mixture, seed=0, gates=True):
    """A network by seeded noise; with `gates` these have opinions, else they are fresh."""
    owners = tuple(min(head, len(mixture.experts) - 1) for head in range(len(sizes.classes)))
    model = fresh_model(sizes, mixture, owners, seed)
    if gates:
        for number, site in enumerate(model.sites().values()):
            decided(site.gate, number)
    return model.eval()


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(sizes, rows=4):
    """Rows of heads 0, 1, 2, 0, each of a scan of its own; a shorter batch begins a longer one."""
    images = noise(4, 3, sizes.image_size, sizes.image_size)[:rows]
    return Slices(images, torch.tensor([0, 1, 2, 0])[:rows], torch.arange(4)[:rows])


class Part(nn.Module):
    """A feed-forward part in a block, without any routing; `channel` is the public gate of its channels."""

    def __init__(self, part, channel=None):
        super().__init__()
        self.part, self.channel = part, channel

    def forward(self, tokens, asked=None):
        answer = self.part(tokens)
        return answer if self.channel is None else self.channel(tokens).softmax(dim=-1) * answer


class Nothing(nn.Module):
    """What adds nothing to a block."""

    def forward(self, tokens, asked=None):
        return torch.zeros_like(tokens)


def host_with(model, expert):
    """The model's host with one expert at each gated place, or with nothing there where `expert` is None."""
    places = {place.name: place for place in model._places}

    def make(name, width, hidden):
        if name not in places:
            return nn.Identity()  # one part for all: put in its place below
        place = places[name]
        return Nothing() if expert is None else Part(place.expert(expert), place.gating_network)

    host = type(model.host)(model.host.sizes, make).to(next(model.parameters()).dtype)
    for name, module in model.host.named_modules():
        if name.endswith(".mlp") and isinstance(host.get_submodule(name), nn.Identity):
            host.get_submodule(name.removesuffix(".mlp")).mlp = module
    own = host.state_dict()
    host.load_state_dict({**own, **{n: t for n, t in model.host.state_dict().items() if n in own}})
    return host.eval()
