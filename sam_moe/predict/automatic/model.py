"""A loaded model that segments without a prompt, and a session of it on one scan."""

import math
from dataclasses import dataclass, field

import torch

from sam_moe.predict.automatic.asking import Automatic
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.predict.automatic.segmenting import answers, restored
from sam_moe.predict.automatic.which import named, recognised
from sam_moe.predict.opening import check_memory, opened
from sam_moe.predict.timing import timed
from sam_moe.progress import Progress, silent
from sam_moe.registry import AutomaticCard, DataSet
from sam_moe.slices.stack import axial_grid, prepare
from sam_moe.space.files import fingerprint
from sam_moe.space.volume import Volume

# Pixels that the network is given at once: 16 slices of 128 x 128.
_CHUNK_PIXELS = 2**18


@dataclass(frozen=True, eq=False)
class AutomaticModel:
    """A frozen network that labels a scan's structures without a prompt; `open` begins a session.

    `sam_moe.load` makes it. Immutable: sessions of several threads share it. Equal to itself alone.

    Attributes:
        network: answers slices, head by head.
        card: its card.
        id: the card's id.
        device: where the network lies.
    """

    network: Automatic
    card: AutomaticCard
    id: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def open(self, scan: object, key: str = "", progress: Progress | None = None) -> "AutomaticSession":
        """Begin a session on a scan.

        Args:
            scan: the path of a file or of a DICOM folder, which is read; a `Volume`; or an image of torchio,
                MONAI, nibabel or SimpleITK. One channel of finite real numbers, any orientation and spacing.
            key: the scan's fingerprint (`space.files.fingerprint`), where the caller has computed it.
            progress: called with a stage's name and the share of it that is done, 0 to 1.

        Raises:
            FileError: for what is no scan: unreadable, complex, not finite, without contrast, of several
                channels, or too large for the memory that is free.
        """
        volume, _ = opened(scan)
        return AutomaticSession(self, volume, key or fingerprint(volume), progress or silent)


@dataclass(frozen=True, eq=False)
class AutomaticSession:
    """A session on one scan: `segment` labels its structures. It keeps no answer; threads may share it.

    Attributes:
        model: what answers.
        scan: the scan, on the grid that labels lie on.
        scan_fingerprint: its content's checksum.
        progress: called with a stage's name and the share of it that is done.
    """

    model: AutomaticModel
    scan: Volume
    scan_fingerprint: str
    progress: Progress = silent

    def segment(self, as_set: str | None = None) -> Segmentation:
        """Label the scan's structures on its own voxels.

        The scan is taken for the data set that it is most like. A structure that is not found has a name and
        no voxel.

        Args:
            as_set: id of the data set to take it for instead.

        Raises:
            ConfigError: for an unknown data set, the known ones listed; or where none is named and the
                weights hold no reference to know it by.
        """
        timings: dict[str, float] = {}
        model = self.model
        sets = model.network.sets
        if as_set is not None:
            named(sets, as_set)
        self.progress("looking", 0.0)
        with timed(timings, "look"):
            likeness = recognised(model.network, self.scan, as_set, model.device)
        taken = likeness.taken
        self._check_memory(taken)
        self.progress("preparing", 0.0)
        with timed(timings, "prepare"):
            stack = prepare(self.scan, taken)
        with timed(timings, "answer"):
            found = answers(
                model.network, stack, sets.index(taken), self._chunk_pixels, model.device, self.progress
            )
        self.progress("restoring", 0.0)
        with timed(timings, "restore"):
            labels = restored(found, taken.labels, self.scan.grid)
        return Segmentation(
            labels,
            self.scan.grid,
            {number: label.name for number, label in enumerate(taken.labels, start=1)},
            likeness=likeness,
            shares=found.shares,
            model_id=model.id,
            timings_ms=timings,
        )

    @property
    def _chunk_pixels(self) -> int | None:
        """How many pixels are answered at once; None for all, where a gate sees the whole scan."""
        return None if self.model.card.mixture.pooling == "volume" else _CHUNK_PIXELS

    def _check_memory(self, taken: DataSet) -> None:
        """Raise FileError where a set's slices of this scan would not fit into the memory that is free."""
        shape = self.scan.grid.shape
        slices = math.prod(axial_grid(self.scan.grid, taken.spacing_mm).shape)
        held = {
            "the scan's comparable numbers": 8 * math.prod(shape),
            "the probabilities on its slices": 4 * slices * (2 + len(taken.labels)),
        }
        check_memory("the scan", shape, held)
