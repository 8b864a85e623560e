"""The request of an evaluation, and its result folder: all of it follows from the case files."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from sam_moe.config import write_json
from sam_moe.evaluation.asking.casefile import CaseFile, case_path, file_name, read_casefile
from sam_moe.evaluation.asking.hardware import hardware
from sam_moe.evaluation.asking.predictions import extra_rows
from sam_moe.evaluation.asking.protocols import Script
from sam_moe.evaluation.asking.runner import Work
from sam_moe.evaluation.challenge.challenge import Challenge
from sam_moe.evaluation.derived import digest_of, remove_masks, standing, withdraw_result
from sam_moe.evaluation.report.cases import kept
from sam_moe.evaluation.report.report import write_report
from sam_moe.evaluation.results import (
    PROMPTS,
    Result,
    ResultFolder,
    Row,
    write_result,
)
from sam_moe.evaluation.scoring.definitions import definitions
from sam_moe.evaluation.scoring.interactive import interactive
from sam_moe.evaluation.scoring.summary import summarise
from sam_moe.files import make_folder
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.version import versions

PACKAGES = ("torch", "numpy", "scipy", "monai", "nibabel", "SimpleITK", "safetensors")


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, by which scripts, into which folder, on how many processes of this machine.

    `prompts` is the checksum of a file of recorded prompts, where the scripts come from one. `predictions` is
    a folder of masks made elsewhere, `resample` whether those on another grid are taken to the case's.
    `only`: of systems too slow for all patients, those that they are run on.
    """

    challenge: Challenge
    scripts: tuple[Script, ...]
    out: Path
    processes: int = 1
    save_masks: bool = False
    prompts: str = ""
    predictions: Path | None = None
    resample: bool = False
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finishing:
    """What a result is made of, once all cases are finished."""

    request: EvaluationRequest
    work: Work
    systems: dict[str, dict[str, JsonValue]]
    processes: int

    def standing(self) -> ResultFolder | None:
        """The result that is there, if it follows from the cases as they are."""
        return standing(self.request.out, self._rows(self._finished()), self._digest())

    def finish(self, before: Set[str], notes: Sequence[str], seconds: float) -> ResultFolder:
        """Write the result; `before` are the cases of an earlier start, whose seconds count too."""
        request, finished, digest = self.request, self._finished(), self._digest()
        rows = self._rows(finished)
        earlier = [file for file in finished if file.case in before]
        withdraw_result(request.out)
        prompts = {id: [file.prompts[id] for file in finished if id in file.prompts] for id in self.systems}
        _write_prompts(request, {id: cases for id, cases in prompts.items() if cases})
        how = Circumstances(
            protocol={script.name: getattr(script, "description", "recorded") for script in request.scripts},
            systems=self.systems,
            command=request.command,
            notes=[*notes, *self._notes(finished, len(earlier))],
            seconds=seconds + sum(file.seconds for file in earlier),
            hardware=hardware(self.processes, (d for file in finished for d in file.devices.values())),
        )
        result = result_of(request.challenge, rows, how)
        result = result.model_copy(update={"made_from": digest, "masks": request.save_masks})
        write_result(request.out, rows, result)
        write_report(request.out, kept(request.out, self.work.cases))
        if not request.save_masks:
            remove_masks(request.out, self.systems)
        return ResultFolder(request.out, tuple(rows), result)

    def _finished(self) -> list[CaseFile]:
        return [read_casefile(case_path(self.request.out, case.id)) for case in self.work.cases]

    def _rows(self, finished: Sequence[CaseFile]) -> list[Row]:
        rows = [row for id in self.systems for file in finished for row in file.rows if row.system == id]
        given = self.work.given
        return rows if given is None else rows + extra_rows(given.masks, given.id)

    def _digest(self) -> str:
        given = self.work.given
        more = "" if given is None else str(self.systems[given.id])
        return digest_of(self.request.out, (case.id for case in self.work.cases), more)

    def _notes(self, finished: Sequence[CaseFile], earlier: int) -> list[str]:
        notes, given = [], self.work.given
        if earlier:
            notes.append(f"{earlier} of {len(finished)} cases were there from an earlier start of this run.")
        if given is not None:
            notes.append(f"{given.id}: masks made elsewhere" + ", resampled where need be." * given.resample)
        if unread := sum(file.unread for file in finished):
            notes.append(
                f"{unread} of {len(finished)} cases cannot be read: a fault of the data, not of a system; "
                "they count with the worst values."
            )
        return [*notes, *dict.fromkeys(note for file in finished for note in file.notes)]


@dataclass(frozen=True)
class Circumstances:
    """How the rows of a result came about: protocols, systems, command, remarks, time and machine."""

    protocol: JsonValue
    systems: dict[str, dict[str, JsonValue]]
    command: Sequence[str]
    notes: Sequence[str]
    seconds: float
    hardware: dict[str, JsonValue]


def result_of(challenge: Challenge, rows: Sequence[Row], how: Circumstances) -> Result:
    """The record of an evaluation: challenge, circumstances, definitions, versions, and the rows' figures."""
    found: dict[str, Any] = {
        "challenge": challenge.model_dump(mode="json"),
        "protocol": how.protocol,
        "definitions": definitions(challenge.nsd_tolerance_mm),
        "systems": how.systems,
        "versions": versions(PACKAGES),
        "hardware": how.hardware,
        "command": list(how.command),
        "seconds": round(how.seconds, 1),
        "summary": summarise(rows),
        "interactive": interactive(rows),
        "notes": tuple(how.notes),
    }
    return Result(**found)


def _write_prompts(request: EvaluationRequest, prompts: dict[str, list[PromptCase]]) -> None:
    """One file where there is one system, else one a system: clicks follow each one's own answers."""
    name = ",".join(script.name for script in request.scripts if script.kinds)
    for id, cases in prompts.items():
        path, up = request.out / PROMPTS, ""
        if len(prompts) > 1:
            path, up = request.out / "prompts" / f"{file_name(id)}.json", "../"
            make_folder(path.parent)
        moved = tuple(case.model_copy(update={"image": up + case.image}) for case in cases)
        text = f"{request.challenge.name}, as given to {id}; seed {request.challenge.seed}."
        write_json(PromptSet(name=name, description=text, cases=moved), path)
