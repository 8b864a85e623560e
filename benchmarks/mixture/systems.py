"""The systems that `reproduce.py` holds against each other: all on one frozen backbone, one cache for all.

The general model alone, each expert alone, the controls made of the same decoders, the mixture. What had to
be trained for comparison lies in `benchmarks/mixture/baselines/`: one decoder finetuned on all tasks, one on
one task after the other, and gates that see the image alone or the prompt alone.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import sam_moe
from benchmarks.cases import ROOT
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.promptable import Sam3DModule
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.selection import Selection
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.registry import ExpertCard, read_entry
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

BASELINES = ROOT / "benchmarks" / "mixture" / "baselines"
GENERAL, MIXTURE = "general", "mixture"
JOINT, SEQUENCE, ENSEMBLE, SOUP, ARITHMETIC = "joint", "sequence", "ensemble", "soup", "arithmetic"
IMAGE_GATE, PROMPT_GATE = "image gate", "prompt gate"
CONTROLS = (JOINT, SEQUENCE, ENSEMBLE, SOUP, ARITHMETIC)
# Share of each expert's difference from the general decoder: what its authors advise, not tuned.
ARITHMETIC_SCALE = 0.3
_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Uniform:
    """All experts, each with the same weight: an ensemble that needs no gate."""

    def select(self, confidence: Tensor) -> Selection:
        """Every expert, in the gate's order."""
        batch, experts = confidence.shape
        every = torch.arange(experts).expand(batch, -1)
        weights = torch.full((batch, experts), 1 / experts)
        return Selection(every, weights, torch.zeros(batch, dtype=torch.bool))

    def explain(self, confidence: Tensor, chosen: Selection) -> tuple[str, ...]:
        """That all answer alike."""
        return ("all alike",) * len(confidence)

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        return "all alike"


@dataclass(frozen=True)
class Systems:
    """Models by name, and the experts' ids in the gate's order, the general one's first."""

    models: dict[str, Model]
    experts: tuple[str, ...]

    @property
    def mixture(self) -> SamMed3DMoE:
        """The mixture itself, for who was asked."""
        model = self.models[MIXTURE].network.module
        assert isinstance(model, SamMed3DMoE)
        return model


def load_systems(gate: str, general: str, scale: float = ARITHMETIC_SCALE) -> Systems:
    """Everything of the table. Embeddings are made once for all systems, as they share the encoder."""
    plain, mixed = sam_moe.load(general, device="cpu"), sam_moe.load(gate, device="cpu")
    mixture = mixed.network.module
    assert isinstance(mixture, SamMed3DMoE)
    backbone, bank = mixture.backbone, mixture.bank
    bank.most = len(bank.ids)
    specialists = [bank.decoder(index) for index in range(1, len(bank.ids))]
    modules: dict[str, Sam3DModule] = {GENERAL: plain.network.module}
    for index, name in enumerate(bank.ids[1:], start=1):
        modules[name] = SamMed3DMoE(backbone, bank, mixture.gate, Forced(index))
    for name in (JOINT, SEQUENCE):
        if (BASELINES / name / "card.json").is_file():
            entry = read_entry(BASELINES / name / "card.json")
            assert isinstance(entry.card, ExpertCard)
            modules[name] = _alone(mixture, name, load_decoder(entry, backbone))
    modules[ENSEMBLE] = SamMed3DMoE(backbone, bank, mixture.gate, Uniform())
    equal = 1 / (len(specialists) + 1)
    for name, share in ((SOUP, equal), (ARITHMETIC, scale)):
        modules[name] = _alone(mixture, name, combined(backbone.mask_decoder, specialists, share))
    for name, folder in ((IMAGE_GATE, "gate-image"), (PROMPT_GATE, "gate-prompt")):
        if (BASELINES / folder / "card.json").is_file():
            modules[name] = sam_moe.load(BASELINES / folder, device="cpu").network.module
    modules[MIXTURE] = mixture
    cache = EmbeddingCache(_CACHE_BYTES)
    models = {
        name: replace(mixed, network=replace(mixed.network, module=module), id=name, cache=cache)
        for name, module in modules.items()
    }
    return Systems(models, bank.ids)


def combined(general: MaskDecoder, experts: Sequence[MaskDecoder], share: float) -> MaskDecoder:
    """A decoder of general + share * (the sum of the experts' differences from it).

    With share = 1 / (experts + 1) that is the mean of all decoders (model soups, arXiv 2203.05482), else task
    arithmetic (arXiv 2212.04089).
    """
    base = general.state_dict()
    states = [expert.state_dict() for expert in experts]
    mixed = {
        name: tensor + share * sum((state[name] - tensor for state in states), torch.zeros_like(tensor))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in base.items()
    }
    copied = deepcopy(general)
    copied.load_state_dict(mixed)
    return copied.eval()


def _alone(mixture: SamMed3DMoE, name: str, decoder: MaskDecoder) -> SamMed3DMoE:
    """A decoder that answers everything, on the mixture's backbone."""
    general = mixture.backbone.mask_decoder
    bank = ExpertBank((mixture.bank.ids[0], name), lambda _: decoder, general)
    gate = gating_network(mixture.sizes.out_channels, 2, 1)
    return SamMed3DMoE(mixture.backbone, bank, gate, Forced(1))
