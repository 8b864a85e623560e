"""What a step of training costs at the public model's size: an expert's decoder, and the gate."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.rows import Task
from benchmarks.speed.sections.experts import EmbeddedClick
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.experts.decoder import Decoder
from sam_moe.systems.sam_med3d_moe.finetune.expert import ExpertLoss
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gating_network
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting
from sam_moe.systems.sam_med3d_moe.train_gate.asking import AllExperts
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import GateLoss
from sam_moe.systems.sam_med3d_moe.train_gate.members import Decoders
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable

SECTION = "a step of training at public size"
REGIONS = 4  # a recipe's batch
PROMPTS = 256
_EXPERTS = 5
_ROWS = 4096
_ASKED = 8  # of the prompts, in the plain way


def training(_: Path) -> Iterator[Task]:
    """Forwards, backwards and the optimiser, on regions embedded once and on a table of prompts."""
    yield expert_step()
    yield gate_step()


def expert_step() -> Task:
    """Four regions, a first answer by a click and by a box, and one correction."""
    torch.manual_seed(0)
    model = SamMed3D(Sizes(corner_embeddings=True)).eval().requires_grad_(False)
    learner = Decoder().learner(model.mask_decoder, None, 0)
    loss = ExpertLoss(model, learner, Prompting((0.0, 1.0)))
    optimiser = torch.optim.AdamW(p for p in learner.parameters() if p.requires_grad)
    image, target = torch.randn(REGIONS, 1, 128, 128, 128), torch.zeros(REGIONS, 1, 128, 128, 128, dtype=bool)
    target[..., 40:80, 40:80, 40:80] = True
    with torch.no_grad():
        kept = model.encode(image)

    def step(embedding: Tensor) -> None:
        loss({"embedding": embedding, "target": target}, torch.Generator().manual_seed(0)).backward()
        optimiser.step()
        optimiser.zero_grad()

    def encoding_too() -> None:
        with torch.no_grad():
            embedding = model.encode(image)
        step(embedding)

    return Task(
        f"expert: {REGIONS} regions", lambda: step(kept), encoding_too,
        "the regions encoded in every step", repeats=1,
        note="each asked by a click and by a box in two ways, and corrected once",
    )  # fmt: skip


def gate_step() -> Task:
    """A batch of a table's rows, against asking the experts in every step."""
    asked = EmbeddedClick()
    mixture = asked.mixture(_EXPERTS)
    torch.manual_seed(0)
    gate = gating_network(384, _EXPERTS, hidden=64)
    loss = GateLoss(gate, random_table())
    optimiser = torch.optim.AdamW(gate.parameters())
    decoders = [mixture.bank.decoder(index) for index in range(_EXPERTS)]
    experts = AllExperts(Decoders(asked.backbone, decoders, "mask"), 0, range(_EXPERTS))

    def step() -> None:
        rows = torch.randint(_ROWS, (PROMPTS,))
        loss(rows, torch.Generator()).backward()
        optimiser.step()
        optimiser.zero_grad()

    def asking() -> None:
        with torch.inference_mode():
            for _ in range(_ASKED):
                experts.decode(asked.embedding, asked.tokens)
        experts.turns.clear()

    return Task(
        f"gate: {PROMPTS} prompts, {_EXPERTS} experts", step, asking,
        f"asking all experts in every step (measured on {_ASKED} prompts)", plain_times=PROMPTS // _ASKED,
    )  # fmt: skip


def random_table() -> GateTable:
    """Rows of noise, of the public model's width."""
    rng = torch.Generator().manual_seed(0)
    seen = GateInput(*(torch.randn(_ROWS, 384, generator=rng).half() for _ in GateInput._fields))
    owner = torch.randint(_EXPERTS, (_ROWS,), generator=rng)
    none = torch.zeros(_ROWS, dtype=torch.long)
    scores = torch.rand(_ROWS, _EXPERTS, generator=rng)
    numbers = {"way": none, "turn": none, "region": none, "structure": none, "scan": none}
    return GateTable(seen=seen, owner=owner, scores=scores, names=("organ",), **numbers)
