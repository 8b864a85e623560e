"""Many experts at the public model's size: k chosen of E against running all; gate and fusion alone."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.speed.rows import Task
from benchmarks.speed.sections.scans import public_model
from benchmarks.speed.sections.stages import decoder_gflop, without_gradients
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.fusion import fuse
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.top_k import TopK
from sam_moe.space.upsampling import upsample
from sam_moe.systems.sam_med3d_moe.gate import gate_input, gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

EXPERTS = (4, 16, 64)
CHOSEN = (1, 2, 4)
SECTION = "k of E experts at public size: gate, decoders, fusion"
_HIDDEN = 64
_DECODERS = 16  # so many different ones, 30 MB each; larger mixtures have them several times
_ALL = "all E decoders, fused by confidence; beyond 16 the same 16 decoders over again"


class EmbeddedClick:
    """One region and one click, embedded, and mixtures of any size to answer it."""

    def __init__(self) -> None:
        backbone = public_model().network.module
        assert isinstance(backbone, SamMed3D)
        self.backbone = backbone
        torch.manual_seed(1)
        self.decoders = [MaskDecoder(Sizes()).eval().requires_grad_(False) for _ in range(_DECODERS)]
        with torch.inference_mode():
            self.embedding = torch.randn(1, 384, 8, 8, 8)
            self.tokens: PromptTokens = backbone.encode_prompt(
                torch.full((1, 1, 3), 64.0),
                torch.ones(1, 1, dtype=torch.long),
                None,
                torch.zeros(1, 1, 32, 32, 32),
            )

    def mixture(self, experts: int) -> SamMed3DMoE:
        """So many experts beside the general one, all held; a gate with opinions."""
        ids = ("general", *(f"expert-{number}" for number in range(experts - 1)))
        made = {name: self.decoders[number % _DECODERS] for number, name in enumerate(ids[1:])}
        bank = ExpertBank(ids, made.__getitem__, self.backbone.mask_decoder, most=experts)
        torch.manual_seed(experts)
        gate = gating_network(384, experts, _HIDDEN)
        for column in gate.columns.parameters():
            nn.init.normal_(column, std=0.1)
        return SamMed3DMoE(self.backbone, bank, gate)

    def decode(self, mixture: SamMed3DMoE, k: int | None) -> Tensor:
        """Answer by the k surest, or by all."""
        chosen = mixture.choosing(Dense() if k is None else TopK(k))
        return chosen.decode(self.embedding, self.tokens)


def experts(_: Path) -> Iterator[Task]:
    """k = 1, 2, 4 of E = 4, 16, 64, then what is done beside decoding."""
    asked, work = EmbeddedClick(), decoder_gflop()
    for count in EXPERTS:
        mixture = asked.mixture(count)
        for k in CHOSEN:
            run = without_gradients(lambda m=mixture, k=k: asked.decode(m, k))
            every = without_gradients(lambda m=mixture: asked.decode(m, None))
            yield Task(f"k = {k} of E = {count}", run, every, _ALL, gflop=k * work)
    gate = asked.mixture(64).gate

    def choose() -> Tensor:
        seen = gate_input(asked.embedding, asked.tokens.sparse, asked.tokens.places)
        return gate(seen).softmax(dim=-1).topk(1).values  # type: ignore[no-any-return]

    yield Task("the gate of 64 alone", without_gradients(choose))
    answers, weights = torch.randn(1, 4, 32, 32, 32), torch.full((1, 4), 0.25)

    def at_full_size() -> Tensor:
        return fuse(torch.stack([upsample(a, 128) for a in answers[0]])[None], weights, "logits")

    yield Task(
        "fusing 4 answers, to the region", lambda: upsample(fuse(answers, weights, "logits"), 128),
        at_full_size, "each answer brought to 128^3 first", moved_mb=4e-6 * (4 * 32**3 + 128**3),
        plain_rounds=99,
    )  # fmt: skip
