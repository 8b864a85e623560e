"""Training the gate alone, on a table of prompts; that nothing else moves is enforced."""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate
from sam_moe.moe.losses import balance_loss, best_loss, fused_loss, owner_loss
from sam_moe.moe.names import Fusion
from sam_moe.registry import GateMode
from sam_moe.registry.gate import DEFAULT_GATE
from sam_moe.shapes import Float, Int
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gating_network
from sam_moe.systems.sam_med3d_moe.train_gate.settings import Supervision
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable
from sam_moe.training.engine.best import Kept, Validation
from sam_moe.training.engine.loop import QUIET, Learner, Reporting, Run, train
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule
from sam_moe.training.engine.seeds import seeded
from sam_moe.training.scans.losses import dice_and_cross_entropy


@dataclass(frozen=True)
class Objective:
    """What a gate learns (`moe/losses.py`).

    Args:
        target: whose the structure is, which expert answers best, or the loss of the fused answer.
        balance: weight of the term that is least where all experts are used alike.
        fusion: how several answers are joined, for target 'fused'.
        noise: noise on features while learning, in shares of their spread.
    """

    target: Supervision = "owner"
    balance: float = 0.0
    fusion: Fusion = "logits"
    noise: float = 0.0


OWNER = Objective()


class Tables(NamedTuple):
    """The prompts that a gate learns from, and those that decide which of its weights are kept."""

    train: GateTable
    validation: GateTable


class GateRows(Dataset[Tensor]):
    """An endless, repeatable stream of a table's row numbers, all tasks in turn, each shuffled every round.

    Places without a label are a task of their own: general structures must not drown in them, nor they
    in those. Sample n is the same on every machine and after every resume.
    """

    def __init__(self, table: GateTable, seed: int, length: int = 10**9) -> None:
        task = torch.where(table.labelled, table.owner, -1)
        self.tasks = [(task == t).nonzero()[:, 0] for t in task.unique().tolist()]
        self.seed, self.length = seed, length
        self.shuffled: dict[int, tuple[int, Tensor]] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Int[Tensor, ""]:
        turn, task = divmod(number, len(self.tasks))
        rows = self.tasks[task]
        around, place = divmod(turn, len(rows))
        if self.shuffled.get(task, (-1,))[0] != around:
            rng = torch.Generator().manual_seed((self.seed * 1009 + task) * 1_000_003 + around)
            self.shuffled[task] = around, rows[torch.randperm(len(rows), generator=rng)]
        return self.shuffled[task][1][place]


class GateLoss(nn.Module):
    """The loss of a gate on rows of a table: what it is to learn (`moe/losses.py`), and a balance term."""

    def __init__(self, gate: Gate, table: GateTable, objective: Objective = OWNER) -> None:
        super().__init__()
        if objective.target == "best" and not table.scores.isfinite().all():
            raise ConfigError("target 'best' needs a table in which every expert was asked. Build it scored.")
        if objective.target == "fused" and table.answers is None:
            raise ConfigError("target 'fused' needs a table that keeps answers. Build it with `keep`.")
        self.gate, self.table, self.objective = gate, table, objective

    def forward(self, rows: Int[Tensor, " b"], rng: torch.Generator) -> Float[Tensor, ""]:
        """The mean loss of these rows of the table."""
        device, picked, target = rows.device, self.table.rows(rows.cpu()), self.objective.target
        seen = GateInput(*(self._noisy(part.to(device).float(), rng) for part in picked.seen))
        logits = self.gate(seen)
        if target == "owner":
            loss = owner_loss(logits, picked.owner.to(device))
        elif target == "best":
            loss = best_loss(logits, picked.scores.to(device))
        else:
            assert picked.answers is not None and picked.targets is not None
            answers, masks = picked.answers.to(device).float(), picked.targets.to(device).float()
            loss = fused_loss(logits, answers, masks, self.objective.fusion, dice_and_cross_entropy)
        mean: Tensor = loss.mean() + self.objective.balance * balance_loss(logits)
        return mean

    def _noisy(self, part: Tensor, rng: torch.Generator) -> Tensor:
        """Features with noise in shares of their spread, against overfitting to few patients."""
        if not self.objective.noise:
            return part
        spread = part.std(dim=0, keepdim=True) if len(part) > 1 else part.abs()
        return part + self.objective.noise * spread * torch.randn(part.shape, generator=rng).to(part)


class GateValidation:
    """Figures of a gate on a validation table; the mean Dice over tasks of the surest expert decides."""

    def __init__(self, table: GateTable, gate: Gate) -> None:
        self.table, self.gate = table, copy.deepcopy(gate).cpu()  # not the one that learns

    @torch.no_grad()
    def __call__(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Measure on the CPU."""
        gate = self.gate
        gate.load_state_dict({name: tensor.cpu() for name, tensor in weights.items()})
        chosen = logits_of(gate, self.table).argmax(dim=1)
        right = (chosen == self.table.owner).float()
        score = self.table.scores.gather(1, chosen[:, None])[:, 0]
        task = torch.where(self.table.labelled, self.table.owner, -1)
        means = [(score[task == t].mean(), right[task == t].mean()) for t in task.unique().tolist()]
        dice, accuracy = (torch.stack(column).mean() for column in zip(*means, strict=True))
        return {"accuracy": round(float(accuracy), 4), "score": round(float(dice), 5)}


@torch.no_grad()
def logits_of(gate: Gate, table: GateTable) -> Float[Tensor, "n e"]:
    """The gate's logits for every row, seen as prediction would see them but for the table's float16."""
    logits: Tensor = gate(GateInput(*(part.float() for part in table.seen)))
    return logits


def fresh_gate(
    features: int, experts: int, hidden: int, mode: GateMode, seed: int, kind: str = DEFAULT_GATE
) -> Gate:
    """A gate with the initial weights that training starts from."""
    with seeded(seed):
        return gating_network(features, experts, hidden, mode, kind)


def fit_gate(
    gate: Gate,
    tables: Tables,
    objective: Objective,
    schedule: Schedule,
    run: Run,
    validate_every: int = 250,
    reporting: Reporting = QUIET,
) -> Kept:
    """Train a gate through the loop that all trainings share; return the weights of the best validation."""
    loss = GateLoss(gate, tables.train, objective)
    validation = Validation(GateValidation(tables.validation, gate), validate_every)
    rows = Samples(GateRows(tables.train, run.seed))
    return train(Learner(loss, gate), rows, schedule, run, validation, reporting)
