"""Words of settings are known without torch, and each is one that the mixture takes."""

import subprocess
import sys
from typing import get_args

import pytest
import torch

from sam_moe.moe.fusion import fuse
from sam_moe.moe.names import Fusion, Granularity
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.site import MoESite, SiteKind
from tests.systems.toys import WIDTH, gate_of, seeded


def test_they_are_known_without_torch():
    program = (
        "import sys, sam_moe.moe.names, sam_moe.moe.rules as r, sam_moe.moe.gates as g;"
        "print(r.RULES.names[:5], g.GATES.names[:2], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rules = ("argmax", "dense", "forced", "threshold", "top_k")
    assert done.stdout == f"{rules} {('linear', 'trunk')} False\n"


@pytest.mark.parametrize("how", get_args(Fusion))
def test_each_way_to_fuse_averages_two_answers(how):
    fused = fuse(torch.tensor([[-1.0, 1.0]]), torch.tensor([[0.5, 0.5]]), how)
    torch.testing.assert_close(fused, torch.zeros(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("granularity", get_args(Granularity))
def test_each_granularity_is_written_into_the_routing(granularity):
    experts = {id: seeded(n, lambda: torch.nn.Linear(WIDTH, WIDTH)) for n, id in enumerate("ab")}
    site = MoESite(experts, gate_of("linear", 2, 0), Dense(), SiteKind(granularity))
    x = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))
    seen = x[:, None].expand(2, WIDTH, WIDTH) if granularity == "pixel" else x
    y, routing = site(x, seen)
    assert y.shape == x.shape and routing.granularity == site.granularity == granularity
