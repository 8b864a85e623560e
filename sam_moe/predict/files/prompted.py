"""A scan that is segmented by prompts: what is asked, the model that answers, and what is written of it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.pictures.scene import Scene
from sam_moe.predict.files.command import ReadScan, Segmented
from sam_moe.predict.files.manifest import (
    Manifest,
    ModelRecord,
    case_for,
    prompts_of,
    read_prompts,
    target_record,
)
from sam_moe.predict.files.request import Request
from sam_moe.predict.files.writing import Findings
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.regions.where import check_positive
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.shapes import UInt8
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

TARGET = "target"  # what a mask's only target is called where it was given no name


@dataclass(frozen=True)
class PromptedRequest(Request):
    """One scan to segment by a prompt, or by a file of prompts for one or more targets."""

    prompt: Prompt | None = None
    prompts_file: Path | None = None
    case: PromptCase | None = None  # of the file, where that is known already

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The file of prompts."""
        return () if self.prompts_file is None else (self.prompts_file,)

    @property
    def targets(self) -> dict[str, Prompt]:
        """The prompts by target name; of a file's, once its case is known."""
        if self.case is not None:
            return {target.name: self.case.prompt(target) for target in self.case.targets}
        assert self.prompt is not None
        return {TARGET: self.prompt}

    @property
    def labels(self) -> dict[str, int]:
        """The value of each target in the mask."""
        return {TARGET: 1} if self.case is None else {t.name: t.label for t in self.case.targets}

    def prompt_case(self) -> PromptCase | None:
        """The case of this scan in the file of prompts; None where there is no file.

        Raises:
            PromptError: for a bad file, or one in which no case, or more than one, names the scan.
        """
        if self.case is not None or self.prompts_file is None:
            return self.case
        return case_for(read_prompts(self.prompts_file), self.prompts_file, self.scan)

    def checked(self, grid: Grid) -> "PromptedRequest":
        """The same with its case, every prompt found sound.

        Raises:
            PromptError: as `prompt_case`, and for a prompt outside the scan or of negative points alone.
        """
        request = replace(self, case=self.prompt_case())
        for name, prompt in request.targets.items():
            try:
                check_positive(prompt)
                prompt.check_inside(grid.affine, grid.shape)
            except PromptError as error:
                if self.prompts_file is None:
                    raise
                raise PromptError(f"{self.prompts_file}: target {name!r}: {error}") from error
        return request

    def remark_on(self, fingerprint: str) -> None:
        """Warn where the prompts were made on another scan."""
        if self.case is None or self.case.fingerprint in (None, fingerprint):
            return
        voxel = self.case.space == "voxel"
        hint = "its voxel indices may mean other places here" if voxel else "check it"
        log.warning("%s was recorded on another scan than %s; %s", self.prompts_file, self.scan, hint)

    def is_answered_by(self, record: Manifest) -> bool:
        """Whether a run record is of the same prompts, under the same names and labels."""
        case = self.prompt_case()
        if case is None or record.prompts is None:
            return False
        return _prompts_of(record.prompts.cases[0]) == _prompts_of(case)


@dataclass(frozen=True)
class PromptedAnswer:
    """The predictions of one scan, and the mask that they are joined in."""

    scan: ReadScan[PromptedRequest]
    mask: UInt8[Tensor, "i j k"]
    predictions: Mapping[str, Prediction]

    @property
    def names(self) -> dict[int, str] | None:
        """The targets by their values; None of a prompt that was typed."""
        request = self.scan.request
        return None if request.prompt else {label: name for name, label in request.labels.items()}

    def findings(self) -> Findings:
        """The targets, and the prompts to ask them again."""
        scan, request = self.scan, self.scan.request
        labels, made = request.labels, self.predictions.items()
        return Findings(
            targets=tuple(target_record(name, labels[name], prediction) for name, prediction in made),
            prompts=prompts_of(
                request.scan,
                scan.fingerprint,
                scan.volume.grid,
                request.targets,
                labels,
                request.outputs.record,
            ),
        )

    def scene(self, scan: Volume) -> Scene:
        """The masks and all prompts."""
        items = tuple(item for found in self.predictions.values() for item in found.prompt)
        if len(self.predictions) == 1:
            title = str(next(iter(self.predictions.values())))
        else:
            title = ", ".join(f"{name} {found.volume_ml:.1f} ml" for name, found in self.predictions.items())
        masks = {name: found.mask for name, found in self.predictions.items()}
        return Scene(scan, masks, Prompt(items), title)

    def remarks(self) -> Iterable[str]:
        """Each target of which nothing was found."""
        for name, made in self.predictions.items():
            if made.voxels == 0:
                yield f"nothing was found for {name}; the mask has none of it"

    def brief(self) -> str:
        """All targets in one line."""
        return "; ".join(f"{name} {found}" for name, found in self.predictions.items())

    def explain(self) -> str:
        """The experts behind each target, and why these."""
        if list(self.predictions) == [TARGET]:
            return self.predictions[TARGET].explain()
        return "\n".join(f"{name}: {found.explain()}" for name, found in self.predictions.items())

    def __str__(self) -> str:
        if list(self.predictions) == [TARGET]:
            return str(self.predictions[TARGET])
        width = max(len(name) for name in self.predictions)
        return "\n".join(f"{name:<{width}}  {prediction}" for name, prediction in self.predictions.items())


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers prompts, and the checksum of its weights for the record."""

    model: Model
    weights_sha256: str | None

    def record(self) -> ModelRecord:
        """What a manifest records of it."""
        return ModelRecord(
            id=self.model.id,
            weights_sha256=self.weights_sha256,
            box_strategy=self.model.box_strategy,
            dtype=str(self.model.dtype).removeprefix("torch."),
            **self.model.lowering.model_dump(),
        )

    def segment(self, scan: ReadScan[PromptedRequest], progress: Progress) -> Segmented:
        """Segment every target."""
        predictor = self.model.open(scan.volume, scan.fingerprint, progress=progress)
        progress("segmenting", 0.0)
        mask, predictions = _predict(predictor, scan.request.targets, scan.request.labels)
        return Segmented(scan, PromptedAnswer(scan, mask, predictions), self.record(), self.model.device)


def _predict(
    predictor: Predictor, targets: Mapping[str, Prompt], labels: Mapping[str, int]
) -> tuple[UInt8[Tensor, "i j k"], Mapping[str, Prediction]]:
    if len(targets) == 1:
        ((name, prompt),) = targets.items()
        found = predictor.predict(*prompt)
        # Times 1 would be a second mask, of a byte a voxel
        return found.mask if labels[name] == 1 else found.mask * labels[name], {name: found}
    joined = predictor.predict_targets(targets)
    values = torch.zeros(256, dtype=torch.uint8)
    for number, name in joined.names.items():
        values[number] = labels[name]
    if not torch.equal(values[: len(targets) + 1].long(), torch.arange(len(targets) + 1)):
        for k in range(joined.labels.shape[2]):  # slice by slice: indices are of 8 bytes a voxel
            joined.labels[:, :, k] = values[joined.labels[:, :, k].long()]
    return joined.labels, joined.predictions


def _prompts_of(case: PromptCase) -> Mapping[str, object]:
    return {target.name: (target.label, case.prompt(target)) for target in case.targets}
