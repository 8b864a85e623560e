"""What a loaded model consists of: everything that a session on a scan needs to know of it."""

from dataclasses import dataclass, field

import torch

from sam_moe.predict.answering import Promptable
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.regions.sharing import Sharing
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import Card, Preprocessing


@dataclass(frozen=True, eq=False)
class ModelParts:
    """A frozen network with what belongs to it; `Model` adds `open`, which begins a session.

    Attributes:
        network: embeds regions and answers prompts on them, with its own normalisation and lowering of boxes.
        preprocessing: how regions are cut, from the backbone's card.
        id: the card's id.
        card: the card that was loaded; None of a network that was made by hand.
        lowering: how flat boxes, strokes and loops are lowered to points and boxes.
        device: where the network lies.
        dtype: of the encoder's products; clicks are decoded in float32 always.
        whole_targets: whether a target is followed beyond its first region and refined there.
        refine_regions: at most so many regions refine one target.
        history_bytes: at most so much of a session's answers is kept for undo; older ones are computed again.
        sharing: with it `predict_targets` asks several targets on one region where theirs lie close together.
        cache: the embeddings of all sessions, within a bound; the only part that changes, and it is locked.
    """

    network: Promptable
    preprocessing: Preprocessing
    id: str
    card: Card | None = None
    lowering: Lowering = field(default_factory=Lowering)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    whole_targets: bool = True
    refine_regions: int = 27
    history_bytes: int = 16 * 2**20
    sharing: Sharing | None = None
    cache: EmbeddingCache = field(default_factory=EmbeddingCache)

    @property
    def box_strategy(self) -> str:
        """Name of the rule by which boxes are lowered to what the weights know."""
        return self.network.box_strategy

    @property
    def embedding_key(self) -> str:
        """What an embedding depends on beside scan and region."""
        return f"{self.network.embedding_key} {self.preprocessing} {self.device} {self.dtype}"
