"""How well regions are answered: mean Dice for each way to prompt and each round of corrections."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.systems.sam_med3d_moe.prompted.conversation import (
    Conversation,
    Opening,
    dice_of,
    taught_strategies,
)

ROUNDS = 3
BATCH = 8
_JITTER = 0.03


@torch.no_grad()
def measure(
    model: SamMed3D, batches: Iterable[tuple[Tensor, Tensor]], box_strategy: BoxStrategy = "mask"
) -> dict[str, float]:
    """Mean Dice over batches of `BATCH` embeddings and targets, with the same prompts at every call.

    Prompts are a click, and a box in each way that `taught_strategies` names. Figures are named by way and
    number of prompts, `click1` to `mask3`; `score` is their mean (ours).
    """
    boxes = taught_strategies(box_strategy, model.sizes.corner_embeddings)
    ways = ("click", *boxes)
    scores = []
    for number, (embedding, target) in enumerate(batches):
        every, rng = torch.arange(len(target)), torch.Generator().manual_seed(number * BATCH)
        talk = Conversation(model, embedding, target, rng, Opening(dict.fromkeys(boxes, every), _JITTER))
        found = []
        for turn in range(ROUNDS):
            answer = talk.ask()
            found.append(dice_of(talk.whole(answer), talk.wanted))
            if turn + 1 < ROUNDS:
                talk.correct(answer)
        scores.append(torch.stack(found).view(ROUNDS, len(ways), -1).cpu())
    mean = torch.cat(scores, dim=2).mean(dim=2)
    figures = {
        f"{way}{turn + 1}": round(float(mean[turn, column]), 4)
        for turn in range(ROUNDS)
        for column, way in enumerate(ways)
    }
    return {**figures, "score": round(float(mean.mean()), 4)}
