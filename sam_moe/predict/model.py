"""A loaded model: weights, card and settings that nothing changes, shared by every session and thread."""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.predict.answering import Promptable
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.opening import opened
from sam_moe.predict.sharing import Sharing
from sam_moe.progress import Progress
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import Card, Preprocessing
from sam_moe.space.files import fingerprint

if TYPE_CHECKING:
    import sam_moe.predict.predictor


@dataclass(frozen=True, eq=False)
class Model:
    """A frozen network with what belongs to it; `open` begins a session on one scan.

    Immutable: sessions of several threads share it, and `dataclasses.replace(model, whole_targets=False)` is
    another model on the same weights. Only `cache` changes, which is locked: it holds the embeddings of all
    sessions.

    Attributes:
        network: what embeds regions and decodes prompts.
        preprocessing: how regions are cut and normalised, from the backbone's card.
        box_strategy: how a box is lowered to what the weights take.
        lowering: how flat boxes, strokes and loops are lowered to points and boxes.
        id: the card's id.
        card: the card that was loaded; None of a network that was made by hand.
        device: where the network lies.
        dtype: of the encoder's products; clicks are decoded in float32 always.
        encoder_fingerprint: equal for networks that embed alike, so that they can share a cache; by default
            that of no other network.
        whole_targets: whether a target is followed beyond its first region and refined there.
        refine_regions: at most so many regions refine one target.
        history_bytes: at most so much of a session's answers is kept for undo; older ones are computed again.
        sharing: with it `predict_targets` asks several targets on one region where theirs lie close together.
        cache: the embeddings.
    """

    network: Promptable
    preprocessing: Preprocessing
    box_strategy: BoxStrategy
    id: str
    card: Card | None = None
    lowering: Lowering = field(default_factory=Lowering)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    encoder_fingerprint: str = field(default_factory=lambda: uuid.uuid4().hex)
    whole_targets: bool = True
    refine_regions: int = 27
    history_bytes: int = 16 * 2**20
    sharing: Sharing | None = None
    cache: EmbeddingCache = field(default_factory=EmbeddingCache)

    @property
    def embedding_key(self) -> str:
        """What an embedding depends on beside scan and region."""
        return f"{self.encoder_fingerprint} {self.preprocessing} {self.device} {self.dtype}"

    def open(
        self,
        scan: object,
        key: str = "",
        *,
        cache: EmbeddingCache | None = None,
        progress: Progress | None = None,
    ) -> "sam_moe.predict.predictor.Predictor":
        """Begin a session on a scan; each call gives a new one, with a history of its own.

        Args:
            scan: the path of a file or of a DICOM folder, which is read; a `Volume`; or an image of torchio
                (`ScalarImage`, or a `Subject` of one), MONAI (`MetaTensor`), nibabel or SimpleITK.
            key: the scan's fingerprint (`space.files.fingerprint`), where the caller has computed it.
            cache: embeddings of this session alone, or of whom it is given to; by default the model's.
            progress: called with a stage's name and the share of it that is done.

        Raises:
            FileError: for what is no scan: unreadable, complex, not finite, without contrast, of several
                channels, or too large for the memory that is free.
        """
        from sam_moe.predict.predictor import Predictor

        # Encoding a region takes about a hundred float32 maps of its size
        volume, low = opened(scan, 400 * self.preprocessing.region_voxels**3)
        floor = 0.0 if self.preprocessing.normalisation == "positive" else low
        return Predictor(
            self,
            volume,
            key or fingerprint(volume),
            floor,
            cache=self.cache if cache is None else cache,
            progress=progress,
        )
