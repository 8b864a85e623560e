"""The state of a training on disk: whole or not at all, however and whenever the process ends."""

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError

from sam_moe.errors import ConfigError, FileError
from sam_moe.files import unwritable

log = logging.getLogger(__name__)

STEP = "step.json"


@dataclass(frozen=True)
class Since:
    """What was measured since the last row of the log: the next row is about this, too."""

    losses: tuple[float, ...] = ()
    worked: float = 0.0
    seconds: float = 0.0


def save(accelerator: Accelerator, folder: Path, step: int, since: Since | None = None) -> None:
    """Write `folder/checkpoint` beside the old one and swap them; all processes must call it.

    At every moment `checkpoint` or, between two renames, `checkpoint.old` is whole.

    Raises:
        FileError: where it cannot be written; the old one is untouched.
    """
    temporary, final, old = folder / "checkpoint.part", folder / "checkpoint", folder / "checkpoint.old"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(temporary))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            about = {"step": step, **asdict(since or Since())}
            (temporary / STEP).write_text(json.dumps(about), encoding="utf-8")
            if final.exists():  # else the old one is all there is: a kill came between the renames below
                shutil.rmtree(old, ignore_errors=True)
                os.replace(final, old)
            os.replace(temporary, final)
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError, RuntimeError) as error:  # the last is torch's for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise FileError(unwritable(final, error)) from error
    accelerator.wait_for_everyone()


def resume(accelerator: Accelerator, folder: Path, steps: int) -> tuple[int, Since]:
    """Load the last checkpoint, if there is one: the step it stopped at, and what was measured by then.

    What a killed process left of others is removed.

    Raises:
        ConfigError: for a checkpoint that has gone beyond `steps`, or is another model's.
    """
    if accelerator.is_main_process:
        shutil.rmtree(folder / "checkpoint.part", ignore_errors=True)
        if (folder / "checkpoint" / STEP).is_file():
            shutil.rmtree(folder / "checkpoint.old", ignore_errors=True)
    accelerator.wait_for_everyone()
    found = next(
        (f for f in (folder / "checkpoint", folder / "checkpoint.old") if (f / STEP).is_file()), None
    )
    if found is None:
        return 0, Since()
    about = json.loads((found / STEP).read_text(encoding="utf-8"))
    step = int(about["step"])
    if step > steps:
        raise ConfigError(
            f"{found} stopped at step {step}, but the recipe ends at {steps}. Raise `schedule.steps` or name "
            "another folder."
        )
    try:
        accelerator.load_state(str(found))
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{found} does not fit the model of this recipe ({reason}). Go back to the recipe that began the "
            "run, or name another folder."
        ) from error
    log.info("going on from step %d of %s", step, found)
    # Empty in a checkpoint of an older version
    since = Since(tuple(about.get("losses", ())), about.get("worked", 0.0), about.get("seconds", 0.0))
    return step, since
