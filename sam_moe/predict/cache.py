"""Image embeddings kept by content, so that a second click on the same region costs no encoding."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

from sam_moe.space.grid import Grid


class EmbeddingCache:
    """The last few embeddings, keyed by what they were computed from: scan, region and encoder."""

    def __init__(self, limit_bytes: int = 256 * 2**20) -> None:
        self.limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def get(self, scan: str, region: Grid, encoder: str, encode: Callable[[], Tensor]) -> tuple[Tensor, bool]:
        """Return the embedding and whether it was there already; the least used ones make room."""
        key = (scan, region.shape, region.affine.round(6).tobytes(), encoder)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key], True
        embedding = self._kept[key] = encode()
        while len(self._kept) > 1 and sum(e.nbytes for e in self._kept.values()) > self.limit_bytes:
            self._kept.popitem(last=False)
        return embedding, False

    def __len__(self) -> int:
        """How many embeddings are kept."""
        return len(self._kept)
