"""Variants of an automatic model's recipe, each trained for the same number of steps."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.systems.m4oe.train.learner import fresh_model
from sam_moe.systems.m4oe.train.settings import M4oERecipe

Data = dict[str, Any]

ONE = "all"  # the only expert of models that have one feed-forward part for all
ONLY = "only-"
_PLAIN_WIDTHS = (16, 32, 64, 128, 128)
_PERCENT = range(20, 500)
_WARMUP_SHARE, _AVERAGED_STEPS = 0.1, 20

# What each variant changes of the recipe; `only-SET` is a set by itself.
VARIANTS: Mapping[str, str] = {
    "hard": "experts, each slice answered by its data set's",
    "dense": "one feed-forward part for all instead of experts",
    "dense-wide": "the same, as wide as all experts together",
    "gate": "experts weighed by a gate from the first step, by the labels alone",
    "gate-domain": "the same with the gate's cross-entropy with the domain",
    "channel": "experts weighed by the public code's softmax over channels, from the first step",
    "plain": "MONAI's BasicUNet without any such part, its widths scaled to as many parameters",
}


def names_of(base: Data) -> list[str]:
    """All variants of a recipe: those above, then each data set by itself."""
    return [*VARIANTS, *(ONLY + each["id"] for each in base["sets"])]


def described(name: str) -> str:
    """What a variant is, in words."""
    return VARIANTS.get(name) or f"`hard`, of which {name.removeprefix(ONLY)} alone is drawn"


def variant(base: Data, name: str, steps: int, seed: int) -> Data:
    """A recipe as a variant of it, with one phase of so many steps, all drawn alike but for `only-SET`.

    Learning rate and batch are those of the first phase; the average of weights is that of fewer steps where
    there are fewer.
    """
    made = deepcopy(base)
    made["seed"] = seed
    made["card"]["id"] = f"{base['card']['id']}-{name}-{seed}"
    made["card"]["title"] = f"{base['card']['id']}: {described(name)}"
    phase = "together" if name in ("gate", "gate-domain", "channel") else "trunk"
    made["phases"] = [_phase(base, phase, steps)]
    if name.startswith(ONLY):
        own = name.removeprefix(ONLY)
        made["mixture"]["scores"] = "forced"
        made["drawing"]["weights"] = {each["id"]: float(each["id"] == own) for each in base["sets"]}
        return made
    _CHANGES[name](made)
    return made


def added_last(base: Data, added: str) -> Data:
    """The recipe with one data set, and its expert, behind all others."""
    made = deepcopy(base)
    sets = sorted(made["sets"], key=lambda each: each["id"] == added)
    places = [base["sets"].index(each) for each in sets]
    expert = sets[-1]["expert"]
    made["sets"] = sets
    made["mixture"]["experts"] = sorted(base["mixture"]["experts"], key=lambda id: id == expert)
    made["architecture"]["classes"] = [base["architecture"]["classes"][place] for place in places]
    return made


def without_last(base: Data) -> Data:
    """The recipe without its last data set and that one's expert."""
    made = deepcopy(base)
    gone = made["sets"].pop()
    made["mixture"]["experts"].remove(gone["expert"])
    made["architecture"]["classes"].pop()
    made["data"]["sets"].pop(gone["id"])
    made["drawing"].get("weights", {}).pop(gone["id"], None)
    return made


def shortened(base: Data, steps: int) -> Data:
    """The recipe with so many steps in its first phase, and the others shortened by as much."""
    made = deepcopy(base)
    share = steps / base["phases"][0]["schedule"]["steps"]
    made["phases"] = [
        _phase(base, each["phase"], max(1, round(share * each["schedule"]["steps"])), number)
        for number, each in enumerate(base["phases"])
    ]
    return made


def adding(base: Data, start: str, steps: int) -> Data:
    """The recipe of its last expert alone, on a finished model of all others."""
    made = deepcopy(base)
    made["start"] = start
    made["phases"] = [_phase(base, f"add-{base['sets'][-1]['expert']}", steps)]
    return made


def parameters_of(data: Data) -> int:
    """How many parameters a recipe's model has."""
    recipe = M4oERecipe.model_validate(data)
    model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, 0)
    return sum(parameter.numel() for parameter in model.parameters())


def _phase(base: Data, name: str, steps: int, like: int = 0) -> Data:
    schedule = dict(base["phases"][like]["schedule"])
    schedule["steps"] = steps
    schedule["warmup"] = min(schedule.get("warmup", 200), round(_WARMUP_SHARE * steps))
    schedule["average"] = min(schedule.get("average", 0.998), max(0.0, 1 - _AVERAGED_STEPS / steps))
    return {"phase": name, "schedule": schedule}


def _one_expert(made: Data) -> None:
    made["mixture"]["experts"] = [ONE]
    for each in made["sets"]:
        each["expert"] = ONE


def _hard(made: Data) -> None:
    made["mixture"]["scores"] = "forced"


def _dense_wide(made: Data) -> None:
    made["architecture"]["mlp_ratio"] = made["architecture"]["mlp_ratio"] * len(made["mixture"]["experts"])
    _one_expert(made)


def _gate(made: Data) -> None:
    made["mixture"]["scores"] = "expert"
    made["phases"][0]["domain"] = 0.0


def _gate_domain(made: Data) -> None:
    made["mixture"]["scores"] = "expert"


def _channel(made: Data) -> None:
    made["mixture"]["scores"] = "channel"
    made["phases"][0]["domain"] = 0.0


def _plain(made: Data) -> None:
    """Of widths that are one multiple of the recipe's, those whose number of parameters comes nearest."""
    wanted = parameters_of(made)
    sizes = made["architecture"]
    widths = sizes.get("widths", _PLAIN_WIDTHS)
    _one_expert(made)

    def scaled(percent: int) -> Data:
        own = [max(4, round(width * percent / 100)) for width in widths]
        plain = ConvSizes(
            image_size=sizes["image_size"], widths=tuple(own), site_levels=0, classes=tuple(sizes["classes"])
        )
        return {**made, "architecture": plain.model_dump(mode="json")}

    place = bisect_left(_PERCENT, wanted, key=lambda percent: parameters_of(scaled(percent)))
    near = _PERCENT[max(0, place - 1) : place + 1]
    made.update(scaled(min(near, key=lambda percent: abs(parameters_of(scaled(percent)) - wanted))))


_CHANGES: Mapping[str, Callable[[Data], None]] = {
    "hard": _hard,
    "dense": _one_expert,
    "dense-wide": _dense_wide,
    "gate": _gate,
    "gate-domain": _gate_domain,
    "channel": _channel,
    "plain": _plain,
}
