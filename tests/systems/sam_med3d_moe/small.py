"""A small mixture that is the same each time, and the prompts that tests ask it."""

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.promptable import Sam3DModule
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import SelectionRule
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import PromptBatch, PromptInputs, SamMed3DMoE

SIZES = Sizes(
    image_size=16,
    patch_size=4,
    embed_dim=24,
    depth=1,
    num_heads=2,
    window_size=4,
    global_attn_indexes=(0,),
    out_channels=48,
    decoder_mlp_dim=32,
    iou_hidden_dim=16,
)


def expert(name: str, sizes: Sizes = SIZES) -> MaskDecoder:
    """A decoder with weights of its own for each name."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        return MaskDecoder(sizes).eval().requires_grad_(False)


def system(rule: SelectionRule, specialists: int, sizes: Sizes = SIZES) -> SamMed3DMoE:
    """A mixture of the general expert and specialists, with a gate that prefers some."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = SamMed3D(sizes).eval()
        gate = gating_network(sizes.out_channels, 1 + specialists, hidden=8)
        for parameter in gate.columns.parameters():
            nn.init.normal_(parameter, std=0.5)
    ids = ("general", *(f"expert-{i}" for i in range(specialists)))
    bank = ExpertBank(ids, lambda name: expert(name, sizes), backbone.mask_decoder)
    return SamMed3DMoE(backbone, bank, gate, rule)


def batch_of(rows: int, sizes: Sizes = SIZES) -> PromptBatch:
    """Regions and prompts, each prompt another: two clicks, one of them ignored in every second prompt."""
    rng = torch.Generator().manual_seed(3)
    image = torch.randn(4, 1, *[sizes.image_size] * 3, generator=rng)
    points = torch.rand(4, 2, 3, generator=rng) * (sizes.image_size - 1)
    labels = torch.tensor([[1, 0], [1, -1]]).repeat(2, 1)
    mask = torch.randn(4, 1, *[sizes.low_res] * 3, generator=rng)
    return PromptBatch(image[:rows], PromptInputs(points[:rows], labels[:rows], None, mask[:rows]))


def asked(model: Sam3DModule, rows: int = 4) -> tuple[Tensor, PromptTokens]:
    """That batch, embedded."""
    batch = batch_of(rows, model.sizes)
    with torch.no_grad():
        return model.encode(batch.image), model.encode_prompt(*batch.prompt)


def routed(model: SamMed3DMoE) -> Routing:
    """How the batch is routed."""
    with torch.no_grad():
        return model.decode_routed(*asked(model))[1]
