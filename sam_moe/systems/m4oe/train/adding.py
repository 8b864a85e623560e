"""An expert more for a finished model: what is there keeps every bit."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.moe.experts import key_of
from sam_moe.moe.system import Phase
from sam_moe.registry import AutomaticCard
from sam_moe.systems.m4oe.model import M4oE, Slices
from sam_moe.systems.m4oe.train.settings import M4oERecipe

ADD = "add-"


def adding_phase(model: M4oE, name: str) -> Phase:
    """The phase "add-EXPERT": the expert, its column in every gate and its data sets' heads learn.

    Raises:
        ConfigError: for an expert that the model does not have.
    """
    expert = name.removeprefix(ADD)
    experts = model.mixture.experts
    if expert not in experts:
        raise ConfigError(
            f"phases: {name!r} adds no expert of mixture.experts: {', '.join(experts)}. Correct it."
        )
    number = experts.index(expert)
    heads = tuple(f"host.outputs.{n}.*" for n, owner in enumerate(model.owners) if owner == number)
    return Phase(name, (f"*.site.experts.{key_of(expert)}.*", f"*.site.gate.columns.{number}.*", *heads))


def check_start(recipe: M4oERecipe, card: AutomaticCard) -> None:
    """See that a recipe goes on from a model: all that the model has stands first in it, unchanged.

    Raises:
        ConfigError: naming what differs.
    """
    old, new = card.architecture, recipe.architecture
    if old.model_copy(update={"classes": new.classes}) != new:
        raise ConfigError(f"architecture: differs from that of {card.id} in more than classes. Take its.")
    if card.mixture.model_copy(update={"experts": recipe.mixture.experts}) != recipe.mixture:
        raise ConfigError(
            f"mixture: scores, pooling and ungated differ from those of {card.id}. Take its; only experts "
            "are added."
        )
    if len(card.mixture.experts) == 1:
        raise ConfigError(
            f"start: {card.id} has one expert, so no gate to add a column to. Name a model of several."
        )
    kept = (
        ("architecture.classes", old.classes, new.classes),
        ("mixture.experts", card.mixture.experts, recipe.mixture.experts),
        ("sets", tuple(each.id for each in card.sets), tuple(each.id for each in recipe.sets)),
    )
    for field, before, now in kept:
        if now[: len(before)] != before:
            raise ConfigError(
                f"{field}: begins with {now[: len(before)]}, and {card.id} has {before}. Keep these first, "
                "first, and add yours behind them."
            )
    if recipe.card.id == card.id:  # else the new model would pass for the old one
        raise ConfigError(f"card.id: {card.id!r} is the start's; give the new model one of its own.")


@torch.no_grad()
def extend(model: M4oE, start: M4oE, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Give a model all that the start has, and each new expert the weights of an old one.

    A new expert begins as the old expert that the gates weigh most on slices of its data sets (ours): it has
    to change least. Its columns begin undecided, its heads as they were made.

    Args:
        model: the larger one.
        start: the finished one.
        batches: some of `training.slices.drawing.DrawnSlices`, of the new data sets.
    """
    state = model.state_dict()
    state.update(start.state_dict())
    old, names = len(start.mixture.experts), model.mixture.experts
    batches = list(batches)
    for number in range(old, len(names)):
        weight = torch.zeros(old)
        for batch in batches:
            rows = model.known(batch["set"]).index == number
            if rows.any():
                heads = torch.zeros(int(rows.sum()), dtype=torch.long)
                _, found = start(Slices(batch["image"][rows], heads, batch["scan"][rows]))
                for routing in found.values():
                    weight += routing.confidence.reshape(-1, old).sum(dim=0)
        like = names[int(weight.argmax())]
        for name in list(state):
            part = f".site.experts.{key_of(names[number])}."
            if part in name:
                state[name] = state[name.replace(part, f".site.experts.{key_of(like)}.")].clone()
    model.load_state_dict(state)
