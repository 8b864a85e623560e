"""The state of a training on disk: whole or not at all, however and whenever the process ends."""

import json
import logging
import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from sam_moe.errors import ConfigError

log = logging.getLogger(__name__)

STEP = "step.json"


def save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Write `folder/checkpoint` beside the old one and swap them; all processes must call it.

    At every moment `checkpoint` or, between two renames, `checkpoint.old` is whole.
    """
    temporary, final, old = folder / "checkpoint.part", folder / "checkpoint", folder / "checkpoint.old"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / STEP).write_text(json.dumps({"step": step}), encoding="utf-8")
        if final.exists():  # else the old one is all there is: a kill came between the renames below
            shutil.rmtree(old, ignore_errors=True)
            os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def resume(accelerator: Accelerator, folder: Path, steps: int) -> int:
    """Load the last checkpoint, if there is one, and return the step it stopped at.

    Raises:
        ConfigError: for a checkpoint that has gone beyond `steps`, or is another model's.
    """
    found = next(
        (f for f in (folder / "checkpoint", folder / "checkpoint.old") if (f / STEP).is_file()), None
    )
    if found is None:
        return 0
    step = int(json.loads((found / STEP).read_text(encoding="utf-8"))["step"])
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
    return step
