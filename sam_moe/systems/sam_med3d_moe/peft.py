"""Adapters as Hugging Face's `peft` writes them: the same low-rank deltas by other names and other scales.

Its folder holds `adapter_config.json` and `adapter_model.safetensors`; a layer's tensors are called
`base_model.model.<layer>.lora_A.weight` (our `<layer>.down`) and `.lora_B.weight` (our `.up`). The package
itself is not needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_moe.config import read_object
from sam_moe.errors import CardError, WeightsError
from sam_moe.registry import CARD, Draft, LoraRanks, read_draft
from sam_moe.weights.files import read_state

CONFIG = "adapter_config.json"
FILES = ("adapter_model.safetensors", "adapter_model.bin")

_NAME = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])(?:\.[^.]+)?\.weight")
_HALVES = {"A": "down", "B": "up"}
_DECODER = "mask_decoder."
_WITHIN = re.compile(r"^(?:.*\.)?mask_decoder\.")
# Keys of a configuration that change nothing of what an adapter adds to the weights, once it is trained.
_HARMLESS = frozenset(
    {"auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config"}
    | {"exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config"}
    | {"lora_dropout", "lora_ga_config", "megatron_core", "peft_version", "qalora_group_size", "revision"}
    | {"runtime_config", "target_modules", "task_type"}
)
_READ = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights"}
# Initial weights that leave the base as it is; the others take something from it.
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
# Expressions longer or more nested than these could take very long to match.
_LONGEST_KEY, _MOST_REPEATS = 200, 4
_REPEATS = re.compile(r"[*+?{]")


@dataclass(frozen=True)
class Adapter:
    """An adapter in our names, and how its deltas are scaled; `file` holds its tensors."""

    file: Path
    state: dict[str, Tensor]
    lora: LoraRanks


def adapter_folder(source: Path) -> Path | None:
    """The folder of an adapter, where `source` is one or the file of tensors in one."""
    folder = source.parent if source.name in FILES else source
    return folder if (folder / CONFIG).is_file() else None


def read_adapter(folder: Path) -> Adapter:
    """Read the folder of an adapter on a mask decoder, alone or within its whole model.

    Raises:
        WeightsError: for options that are more than low-rank deltas on layers of the decoder, and for tensors
            that are not those of the configuration.
    """
    config = folder / CONFIG
    options = read_object(config, WeightsError)
    _check_options(options, config)
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise WeightsError(f"{folder}: has {CONFIG}, and no {' or '.join(FILES)}. Copy the whole folder.")
    state = own_names(read_state(file), str(file))
    rank, alpha = _number(options, "r", config, whole=True), _number(options, "lora_alpha", config)
    ranks = _pattern(options, "rank_pattern", config, whole=True)
    alphas = _pattern(options, "alpha_pattern", config)
    stable = options.get("use_rslora") is True
    # One alpha for all layers, as a card has it: theirs is alpha over rank, or over its root.
    ours, found = alpha * sqrt(rank) if stable else alpha, {}
    for layer in sorted(name.removesuffix(".down") for name in state if name.endswith(".down")):
        found[layer] = len(state[f"{layer}.down"])
        if found[layer] != (named := int(_of_layer(ranks, layer, rank))):
            raise WeightsError(
                f"{file}: the delta of {layer} has rank {found[layer]}, and {CONFIG} says {named}. Correct "
                "r or rank_pattern."
            )
        theirs = _of_layer(alphas, layer, alpha) / (sqrt(named) if stable else named)
        if (factor := theirs / (ours / named)) != 1 and abs(factor - 1) > 1e-12:
            state[f"{layer}.up"] = state[f"{layer}.up"].to(torch.float32) * factor
    others = {layer: own for layer, own in found.items() if own != rank}
    return Adapter(file, state, LoraRanks(rank=int(rank), alpha=ours, per_layer=others))


def drafted(folder: Path, card: Path | str | None) -> tuple[Draft, Adapter]:
    """An adapter with its card, given or in its folder, which gets the adapter's ranks and scale.

    Raises:
        CardError: where there is no card, or one that names other ranks or another scale.
        WeightsError: as `read_adapter`.
    """
    if card is None and not (folder / CARD).is_file():
        raise CardError(
            f"{folder}: has no card. Give one with the expert's id, base, covers and licence by --card."
        )
    draft, adapter = read_draft(card or folder / CARD), read_adapter(folder)
    lora = adapter.lora.model_dump(mode="json")
    named = draft.fields.get("lora", {})
    if draft.fields.get("expert_kind", "lora") != "lora" or not isinstance(named, Mapping):
        raise CardError(f"{draft.path}: expert_kind: is not 'lora', and {folder} holds deltas. Leave it out.")
    if differing := [key for key, value in named.items() if lora.get(key) != value]:
        raise CardError(
            f"{draft.path}: lora.{differing[0]}: is not {lora.get(differing[0])}, which {folder / CONFIG} "
            "gives. Leave lora out."
        )
    return Draft(draft.path, {**draft.fields, "expert_kind": "lora", "lora": lora}), adapter


def is_adapters(name: str) -> bool:
    """Whether a tensor's name is one of an adapter's."""
    return _NAME.fullmatch(name) is not None


def own_names(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """An adapter's tensors as `<layer of the decoder>.up` and `.down`; those that are called so stay.

    Raises:
        WeightsError: for a tensor that is no half of a delta on a linear layer of the mask decoder.
    """
    if not any("lora_" in name for name in state):
        return dict(state)
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise WeightsError(
                f"{where}: {name} is no half of a low-rank delta on a linear layer (lora_A, lora_B). Train "
                "with LoRA alone: no DoRA, no biases, no embeddings, no modules_to_save."
            )
        layer = _WITHIN.sub("", match["layer"].removeprefix("base_model.model."))
        if layer.startswith(("image_encoder.", "prompt_encoder.")):
            raise WeightsError(
                f"{where}: {name} lies outside of the mask decoder. Name the decoder's layers alone in "
                "target_modules; or merge the adapter (merge_and_unload) and add the whole model's state."
            )
        ours = f"{layer}.{_HALVES[match['half']]}"
        if ours in named:
            raise WeightsError(f"{where}: has two deltas on {layer}. Save one adapter alone.")
        named[ours] = tensor
    return named


def _check_options(options: Mapping[str, Any], config: Path) -> None:
    if (kind := options.get("peft_type")) != "LORA":
        raise WeightsError(
            f"{config}: peft_type: is {kind!r}. Only 'LORA' is taken; of another kind merge the adapter "
            "(merge_and_unload) and add the whole model's state."
        )
    for key, value in options.items():
        plain = key in _HARMLESS or key in _READ or not value or (key == "bias" and value == "none")
        if not plain:
            raise WeightsError(
                f"{config}: {key}: {str(value)[:60]!r} makes more of the adapter than low-rank deltas "
                "on layers. Train without it; or merge the adapter (merge_and_unload) and add the whole "
                "model's state."
            )
    start = options.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        raise WeightsError(
            f"{config}: init_lora_weights: {str(start)[:60]!r} changed the base's weights before the "
            "training, and this adapter belongs to those. Save it converted "
            "(path_initial_model_for_weight_conversion); or merge it (merge_and_unload) and add the whole "
            "model's state."
        )
    if not isinstance(options.get("use_rslora", False), bool | None):
        raise WeightsError(f"{config}: use_rslora: is neither true nor false. Write it again.")


def _number(options: Mapping[str, Any], key: str, config: Path, whole: bool = False) -> float:
    return _checked_number(options.get(key), key, config, whole)


def _checked_number(value: Any, key: str, config: Path, whole: bool) -> float:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e6:
        expected = "a whole number above 0" if whole else "a number above 0"
        raise WeightsError(f"{config}: {key}: is {str(value)[:60]}. Expected {expected}; write it again.")
    return value


def _pattern(
    options: Mapping[str, Any], key: str, config: Path, whole: bool = False
) -> dict[re.Pattern[str], float]:
    """Numbers of single layers: expressions for the end of a layer's name, the first that matches counts."""
    table = options.get(key) or {}
    if not isinstance(table, dict):
        raise WeightsError(f"{config}: {key}: is a {type(table).__name__}. Expected layers and numbers.")
    found = {}
    for expression, value in table.items():
        risky = len(expression) > _LONGEST_KEY or len(_REPEATS.findall(expression)) > _MOST_REPEATS
        if risky or re.search(r"\)[*+?{]", expression):
            raise WeightsError(
                f"{config}: {key}: {expression[:60]!r} is too tangled an expression. Name the layers."
            )
        try:
            compiled = re.compile(rf"(.*\.)?({expression})$")
        except re.error as error:
            raise WeightsError(
                f"{config}: {key}: {expression!r} is no regular expression ({error}). Name the layers."
            ) from error
        found[compiled] = _checked_number(value, f"{key}.{expression}", config, whole)
    return found


def _of_layer(table: Mapping[re.Pattern[str], float], layer: str, otherwise: float) -> float:
    """The number for a layer, whose name the adapter knows with or without the decoder's."""
    names = (layer, _DECODER + layer)
    return next((v for key, v in table.items() if any(key.match(name) for name in names)), otherwise)
