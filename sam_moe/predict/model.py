"""A loaded model: weights, card and settings that nothing changes, shared by every session and thread."""

from dataclasses import dataclass

from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.opening import opened
from sam_moe.predict.parts import ModelParts
from sam_moe.predict.predictor import Predictor
from sam_moe.progress import Progress
from sam_moe.space.files import fingerprint


@dataclass(frozen=True, eq=False)
class Model(ModelParts):
    """A frozen network with what belongs to it; `open` begins a session on one scan.

    `sam_moe.load` makes it; its fields are those of `ModelParts`. Immutable: sessions of several threads
    share it, and `dataclasses.replace(model, whole_targets=False)` is another model on the same weights. Only
    `cache` changes, which is locked: it holds the embeddings of all sessions. Equal to itself alone.
    """

    def open(
        self,
        scan: object,
        key: str = "",
        *,
        cache: EmbeddingCache | None = None,
        progress: Progress | None = None,
    ) -> Predictor:
        """Begin a session on a scan; each call gives a new one, with a history of its own.

        Args:
            scan: the path of a file or of a DICOM folder, which is read; a `Volume`; or an image of torchio
                (`ScalarImage`, or a `Subject` of one), MONAI (`MetaTensor`), nibabel or SimpleITK. One
                channel of finite real numbers, any orientation and spacing.
            key: the scan's fingerprint (`space.files.fingerprint`), where the caller has computed it.
            cache: where embeddings are kept, for this session alone or for those that share it; by default
                the model's.
            progress: called with a stage's name and the share of it that is done, 0 to 1.

        Raises:
            FileError: for what is no scan: unreadable, complex, not finite, without contrast, of several
                channels, or too large for the memory that is free.
        """
        x, y, z = self.preprocessing.region_shape
        volume, low = opened(scan, 400 * x * y * z)  # encoding takes about a hundred float32 maps of a region
        outside = self.network.outside
        return Predictor(
            self,
            volume,
            key or fingerprint(volume),
            low if outside is None else outside,
            cache=self.cache if cache is None else cache,
            progress=progress,
        )
