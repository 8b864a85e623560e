"""Which machines a run was trained on, kept in its folder as it is carried from one to the other."""

import json
import platform
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState

from sam_moe.files import replace_text
from sam_moe.processes import join, processors, world_size
from sam_moe.training.engine.runlog import read_rows

MACHINES = "machines.json"
# One process validates while the others wait; torch's own patience, 10 to 30 minutes, may be too short.
PATIENCE = timedelta(hours=6)


def hardware(processes: int) -> str:
    """Accelerator or processor of this machine, times the number of processes."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        name = f"{platform.processor() or platform.machine()} CPU, {processors()} cores"
    return f"{processes} x {name}"


def note_machine(run: Path, steps: int) -> None:
    """Add this machine to those of a run, if any of its steps are left to do.

    Processes that train together write the same; their number is what torch.distributed's launchers say.
    """
    rows = read_rows(run)
    here = hardware(world_size())
    if (rows and rows[-1]["step"] >= steps) or here in machines(run):
        return
    replace_text(run / MACHINES, json.dumps([*machines(run), here]) + "\n")


def machines(run: Path) -> list[str]:
    """The machines that were noted, in the order they were met."""
    path = run / MACHINES
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def processes() -> PartialState:
    """The processes that train together, started once; what is slow, one does while the others wait."""
    return join(PATIENCE)
