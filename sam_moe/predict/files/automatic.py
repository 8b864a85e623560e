"""A scan that is segmented without a prompt: what is asked, the model that answers, what is written of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from sam_moe.pictures.scene import Scene
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.predict.files.command import ReadScan, Segmented
from sam_moe.predict.files.manifest import AutomaticRecord, Manifest, ModelRecord, StructureRecord
from sam_moe.predict.files.prompted import LoadedModel
from sam_moe.predict.files.request import Request
from sam_moe.predict.files.writing import Findings
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.timing import timed
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import UInt8
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


@dataclass(frozen=True)
class AutomaticRequest(Request):
    """One scan to segment without a prompt; `as_set` names the data set to take it for."""

    as_set: str | None = None

    def checked(self, grid: Grid) -> "AutomaticRequest":
        """The same: any scan can be asked about."""
        return self

    def remark_on(self, fingerprint: str) -> None:
        """Nothing: no prompt could belong to another scan."""

    def is_answered_by(self, record: Manifest) -> bool:
        """Whether a run record is of a scan that was taken for a set in the same way."""
        return record.automatic is not None and record.automatic.asked == self.as_set


@dataclass(frozen=True)
class RefinedMasks:
    """What a promptable model made of automatic masks, by structure.

    Args:
        model_id: its id.
        boxes: the structures whose boxes it answered.
        answered_by: whose mask each structure's is, in words.
        changed: voxels that each structure gained or lost.
    """

    model_id: str
    boxes: tuple[str, ...]
    answered_by: Mapping[str, str]
    changed: Mapping[str, int]

    def __str__(self) -> str:
        parts = [f"{name} ({self.changed[name]:,} voxels changed)" for name in self.boxes]
        return f"then {self.model_id}: {', '.join(parts) or 'no mask that it answers better'}"


@dataclass(frozen=True)
class AutomaticAnswer:
    """The structures of one scan."""

    scan: ReadScan[AutomaticRequest]
    found: Segmentation
    then: RefinedMasks | None = None

    @property
    def mask(self) -> UInt8[Tensor, "i j k"]:
        """The labels."""
        return self.found.labels

    @property
    def names(self) -> dict[int, str]:
        """The structures by their values, those that were not found as well."""
        return self.found.names

    def findings(self) -> Findings:
        """What the scan was taken for, the experts, and every structure."""
        found, likeness = self.found, self.found.likeness
        structures = tuple(
            StructureRecord(
                name=name,
                label=label,
                voxels=found.voxels[name],
                volume_ml=round(found.volumes_ml[name], 6),
                answered_by=None if self.then is None else self.then.answered_by[name],
                changed_voxels=None if self.then is None else self.then.changed[name],
            )
            for label, name in found.names.items()
        )
        record = AutomaticRecord(
            asked=self.scan.request.as_set,
            data_set=likeness.taken.id,
            words=str(likeness),
            unlike=likeness.unlike,
            distances=dict(likeness.distances),
            far=likeness.taken.far,
            shares={place: dict(shares) for place, shares in found.shares.items()},
            structures=structures,
            not_found=found.not_found,
            timings_ms={stage: round(spent, 3) for stage, spent in found.timings_ms.items()},
        )
        return Findings(automatic=record)

    def scene(self, scan: Volume) -> Scene:
        """The structures that were found."""
        found = [(label, name) for label, name in self.names.items() if self.found.voxels[name]]
        masks = {name: self.mask == label for label, name in found}
        return Scene(scan, masks, Prompt(), f"{self.found.likeness} · {self.found.model_id}")

    def remarks(self) -> Iterable[str]:
        """That the scan is unlike what was trained on, and that nothing at all was found."""
        if self.found.likeness.unlike:
            yield f"{self.scan.request.scan}: {self.found.likeness}"
        if not any(self.found.voxels.values()):
            yield f"{self.scan.request.scan}: nothing was found; the labels are all background"

    def brief(self) -> str:
        """What the scan was taken for, what was found and what was not, in one line."""
        found = [f"{name} {volume:.1f} ml" for name, volume in self.found.volumes_ml.items() if volume]
        missing = [f"not found: {', '.join(self.found.not_found)}"] if self.found.not_found else []
        then = [] if self.then is None else [str(self.then)]
        return "; ".join([str(self.found.likeness), *found, *missing, *then])

    def explain(self) -> str:
        """The distance to every set, the experts of each place, and whose mask each structure's is."""
        then = {} if self.then is None else self.then.answered_by
        return "\n".join([self.found.explain(), *(f"  {name}: {by}" for name, by in then.items())])

    def __str__(self) -> str:
        return str(self.found) if self.then is None else f"{self.found}\n{self.then}"


@dataclass(frozen=True)
class LoadedAutomaticModel:
    """A model that answers without a prompt, and the checksum of its weights for the record.

    `then` is a promptable model that answers the boxes of its masks, where the card's rule is that.
    """

    model: AutomaticModel
    weights_sha256: str | None
    then: LoadedModel | None = None

    def record(self) -> ModelRecord:
        """What a manifest records of it: it lowers no prompt."""
        return ModelRecord(
            id=self.model.id,
            weights_sha256=self.weights_sha256,
            box_strategy="none",
            flat_box="none",
            stroke="none",
            loop="none",
            then=None if self.then is None else self.then.record(),
        )

    def segment(self, scan: ReadScan[AutomaticRequest], progress: Progress) -> Segmented:
        """Segment every structure of the set that the scan is taken for; refine those of the card's rule."""
        session = self.model.open(scan.volume, scan.fingerprint, progress)
        found, then = session.segment(scan.request.as_set), None
        if self.then is not None:
            found, then = refined(
                found, self.then.model.open(scan.volume, scan.fingerprint, progress=progress)
            )
        return Segmented(scan, AutomaticAnswer(scan, found, then), self.record(), self.model.device)


def refined(found: Segmentation, session: Predictor) -> tuple[Segmentation, RefinedMasks]:
    """The structures after a promptable model answered the boxes of those whose rule is that."""
    timings = dict(found.timings_ms)
    with timed(timings, "then"):
        started = session.start_from(found)
        started.refine_by_rule()
        labels = started.label_map().labels
    names = sorted(found.names.items())
    answered_by = {name: target.answered_by for name, target in started.items()}
    boxes = tuple(name for name, target in started.items() if target.rule == "box" and target.found)
    changed = {
        name: int(((labels == value) ^ (found.labels == value)).count_nonzero()) for value, name in names
    }
    then = RefinedMasks(session.model_id, boxes, answered_by, changed)
    return replace(found, labels=labels, timings_ms=timings), then
