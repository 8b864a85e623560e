"""What `sam-moe doctor` finds: this machine, what is installed on it, and what would be used."""

import importlib
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sam_moe.assemble.parts import find_parts
from sam_moe.cli.models.model_list import listed
from sam_moe.errors import SamMoeError
from sam_moe.hosts.sam3d.segment_anything import prepare
from sam_moe.processes import choose_device, processors, share_threads, threads
from sam_moe.registry import Card, Entry, Weights, check_weights, default_folder
from sam_moe.registry.finding import list_automatics, list_experts, list_gates, user_folder
from sam_moe.space.files.header import available_memory_bytes
from sam_moe.version import versions

_PACKAGES = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "safetensors", "pydantic", "typer", "monai")
_SAFE_TORCH = (2, 10)


@dataclass(frozen=True)
class Health:
    """Groups of facts by title, remarks on what is not as it should be, and whether one can work with it."""

    facts: dict[str, dict[str, str]]
    warnings: tuple[str, ...]
    usable: bool

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {**self.facts, "warnings": list(self.warnings), "usable": self.usable}

    def __str__(self) -> str:
        width = max(len(name) for group in self.facts.values() for name in group)
        lines = []
        for title, group in self.facts.items():
            if not group:
                continue
            lines += [title, *(f"  {name:<{width}}  {value}" for name, value in group.items()), ""]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, "ready" if self.usable else "not usable as it is"])


def examine() -> Health:
    """Look at everything that decides whether and how `sam-moe predict` runs here."""
    warnings: list[str] = []
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE_TORCH:
        warnings.append(
            f"torch {torch.__version__} can be made to run code by a .pth file, which is therefore refused; "
            "install torch 2.10 or newer"
        )
    share_threads()
    models, usable = _models(warnings)
    facts = {
        "versions": {**versions(_PACKAGES), "torchvision": _torchvision(), "segment_anything": _sam()},
        "machine": _machine(),
        "would be used": {"device": str(choose_device()), "threads": str(threads())},
        "folders": _folders(warnings),
        "models": models,
        "experts": _experts(warnings),
        "gates": _gates(warnings),
        "automatic models": _automatics(warnings),
    }
    return Health(facts, tuple(warnings), usable)


def _machine() -> dict[str, str]:
    free = available_memory_bytes()
    facts = {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cpu cores": str(processors()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "free memory": "unknown" if free is None else f"{free / 2**30:.1f} GiB",
        "apple gpu": "yes" if torch.backends.mps.is_available() else "no",
        "cuda": torch.version.cuda or "torch was built without it",
    }
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        facts[f"gpu {number}"] = f"{card.name}, {card.total_memory / 2**30:.1f} GiB"
    return facts


def _torchvision() -> str:
    """Whether torchvision is whole: nothing here needs it, but segment-anything's 2-D helpers do."""
    if importlib.util.find_spec("torchvision") is None:
        return "missing; not needed"
    try:
        module = importlib.import_module("torchvision")
    except Exception as error:  # beside a torch it was not built for it raises anything
        reason = " ".join(str(error).split())[:80]
        return f"broken ({type(error).__name__}: {reason}); not needed"
    return f"whole, {module.__version__}"


def _sam() -> str:
    prepare()
    try:
        importlib.import_module("segment_anything")
    except Exception as error:
        return f"does not import ({type(error).__name__}: {error})"
    return "imports"


def _folders(warnings: list[str]) -> dict[str, str]:
    try:
        cards = str(default_folder())
    except SamMoeError as error:
        cards = "missing"
        warnings.append(str(error))
    own = user_folder()
    return {"cards": cards, "your models": str(own) + ("" if own.is_dir() else " (not made yet)")} | {
        "working in": str(Path.cwd())
    }


def _models(warnings: list[str]) -> tuple[dict[str, str], bool]:
    """Each model's state, its file read and its checksum compared; and whether any is there to work with."""
    try:
        found = listed()
    except SamMoeError as error:
        warnings.append(str(error))
        return {"none": "the cards cannot be read"}, False
    states, usable = {}, False
    for item in found:
        if item.entry.card.kind != "backbone":
            continue
        here = item.weights is not None and item.state != "weights missing"
        complete = here and item.complete
        usable = usable or complete
        states[item.entry.card.id] = item.state + (", SHA-256 as on the card" if complete else "")
        if item.state == "weights missing" or (here and not complete):
            what = "are missing" if not here else "are not those the card names"
            name, folder = item.entry.card.id, item.weights_entry.folder
            warnings.append(f"the weights of {name} {what}; restore {folder}")
    if not usable:
        warnings.append("no model's weights are here; convert one, or let the first prediction fetch one")
    return states, usable


def _experts(warnings: list[str]) -> dict[str, str]:
    """Each expert's state, its files read and their checksums compared."""
    states = {}
    try:
        for entry in list_experts():
            card = entry.card
            states[card.id] = f"{card.expert_kind} on {card.base.id}, "
            states[card.id] += _whole(entry, (card.weights, card.feature_bank), warnings)
    except SamMoeError as error:
        _remark(error, warnings)
    return states


def _gates(warnings: list[str]) -> dict[str, str]:
    """Each gate's state, and whether all that it chooses among is here."""
    states = {}
    try:
        for entry in list_gates():
            card, count = entry.card, len(entry.card.experts) - 1
            state = _whole(entry, (card.weights, card.feature_bank), warnings)
            try:
                find_parts(entry)
            except SamMoeError as error:
                _remark(error, warnings)
                state = "not usable, see below"
            states[card.id] = f"{count} expert{'' if count == 1 else 's'} on {card.base.id}, {state}"
    except SamMoeError as error:
        _remark(error, warnings)
    return states


def _automatics(warnings: list[str]) -> dict[str, str]:
    """Each automatic model's state, its file read and its checksum compared."""
    states = {}
    try:
        for entry in list_automatics():
            count = len(entry.card.sets)
            state = _whole(entry, (entry.card.weights,), warnings)
            states[entry.card.id] = f"{count} data set{'' if count == 1 else 's'}, {state}"
    except SamMoeError as error:
        _remark(error, warnings)
    return states


def _whole(entry: Entry[Card], files: Sequence[Weights | None], warnings: list[str]) -> str:
    try:
        for file in files:
            if file is not None:
                check_weights(entry.folder / file.file, file, entry.path)
    except SamMoeError as error:
        _remark(error, warnings)
        return "not usable, see below"
    return "SHA-256 as on the card"


def _remark(error: SamMoeError, warnings: list[str]) -> None:
    if str(error) not in warnings:
        warnings.append(str(error))
