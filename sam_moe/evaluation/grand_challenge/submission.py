"""A system taken through the files of a grand-challenge submission, prompted by a simulated user."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.asking.conversation import AnsweredStep, converse
from sam_moe.evaluation.asking.hardware import device_of, hardware
from sam_moe.evaluation.asking.protocols import Script
from sam_moe.evaluation.asking.systems import SystemUnderTest
from sam_moe.evaluation.asking.targets import targets_of
from sam_moe.evaluation.challenge.challenge import Case, Challenge, Opened, cases_of
from sam_moe.evaluation.derived import withdraw_result
from sam_moe.evaluation.finishing import Circumstances, result_of
from sam_moe.evaluation.grand_challenge.rehearsal import check_new, rehearse
from sam_moe.evaluation.report.report import write_report
from sam_moe.evaluation.results import ResultFolder, write_result
from sam_moe.shapes import UInt8

CONTAINER = "grand-challenge"


def submit(
    challenge: Challenge,
    system: SystemUnderTest,
    scripts: Sequence[Script],
    out: Path,
    command: Sequence[str] = (),
) -> ResultFolder:
    """Answer every case as its container would and judge the masks as the evaluation's would.

    `out/grand-challenge` gets the folders of both containers, `out` a result as any other. The mask handed in
    is the answer to the last step of the protocol: a container has no user, who is simulated.

    Raises:
        ConfigError: for several protocols, of which a container has no use.
    """
    if len(scripts) != 1:
        raise ConfigError(
            f"{len(scripts)} protocols for one mask a case. Expected one, such as --protocol click."
        )
    start, script = perf_counter(), scripts[0]

    def answer(case: Case, opened: Opened) -> UInt8[Tensor, "i j k"]:
        system.open(opened.scan)
        (target,) = targets_of(case, opened, challenge.seed)
        last: AnsweredStep = list(converse(system, script, target))[-1]
        if last.status != "ok":
            raise PromptError(last.reason)
        return torch.from_numpy(last.reply.mask.astype(np.uint8))

    cases = cases_of(challenge)
    check_new(out / CONTAINER)
    withdraw_result(out)
    rows = rehearse(cases, answer, out / CONTAINER, challenge.nsd_tolerance_mm, system.id)
    how = Circumstances(
        protocol={script.name: getattr(script, "description", "recorded")},
        systems={system.id: system.describe()},
        command=command,
        notes=(f"One mask a case, after {script.steps[-1]}, through the containers' files.",),
        seconds=perf_counter() - start,
        hardware=hardware(1, [device_of(system)]),
    )
    result = result_of(challenge, rows, how)
    write_result(out, rows, result)
    write_report(out)
    return ResultFolder(out, tuple(rows), result)
