"""A scan that is segmented without a prompt: what is asked, the model that answers, what is written of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from sam_moe.pictures.scene import Scene
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.predict.files.command import ReadScan, Segmented
from sam_moe.predict.files.manifest import AutomaticRecord, Manifest, ModelRecord, StructureRecord
from sam_moe.predict.files.request import Request
from sam_moe.predict.files.writing import Findings
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
class AutomaticAnswer:
    """The structures of one scan."""

    scan: ReadScan[AutomaticRequest]
    found: Segmentation

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
        return "; ".join([str(self.found.likeness), *found, *missing])

    def explain(self) -> str:
        """The distance to every set, and the experts of each place."""
        return self.found.explain()

    def __str__(self) -> str:
        return str(self.found)


@dataclass(frozen=True)
class LoadedAutomaticModel:
    """A model that answers without a prompt, and the checksum of its weights for the record."""

    model: AutomaticModel
    weights_sha256: str | None

    def record(self) -> ModelRecord:
        """What a manifest records of it: it lowers no prompt."""
        return ModelRecord(
            id=self.model.id,
            weights_sha256=self.weights_sha256,
            box_strategy="none",
            flat_box="none",
            stroke="none",
            loop="none",
        )

    def segment(self, scan: ReadScan[AutomaticRequest], progress: Progress) -> Segmented:
        """Segment every structure of the set that the scan is taken for."""
        session = self.model.open(scan.volume, scan.fingerprint, progress)
        found = session.segment(scan.request.as_set)
        return Segmented(scan, AutomaticAnswer(scan, found), self.record(), self.model.device)
