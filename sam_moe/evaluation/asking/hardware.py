"""What an evaluation ran on: the devices that its systems computed on, not those that the machine has."""

from collections.abc import Iterable

import torch
from pydantic import JsonValue

from sam_moe.evaluation.asking.systems import System
from sam_moe.predict.files.manifest import machine
from sam_moe.processes import processors, threads

UNKNOWN = "unknown"


def device_of(system: System) -> str:
    """Where a system computes, by its `device`, which torch understands; unknown where it has none."""
    found = getattr(system, "device", None)
    if found is None:
        return UNKNOWN
    device = torch.device(found)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def hardware(processes: int, devices: Iterable[str]) -> dict[str, JsonValue]:
    """The machine, and the devices that systems computed on; the CPU where there was no system."""
    return {
        "system": machine("cpu").system,
        "device": ", ".join(sorted(set(devices))) or "cpu",
        "cores": processors(),
        "processes": processes,
        "threads": threads(),
    }
