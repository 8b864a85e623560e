"""Image embeddings kept by content, so that a second click on the same region costs no encoding."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Event, Lock

from torch import Tensor

from sam_moe.space.grid import Grid

_Key = tuple[object, ...]


class EmbeddingCache:
    """The last few embeddings, keyed by what they were computed from: scan, region and encoder.

    Threads can share it. No two of them compute the same embedding: the second waits for the first.
    Different ones are computed side by side, with nothing locked.
    """

    def __init__(self, limit_bytes: int = 256 * 2**20) -> None:
        self.limit_bytes = limit_bytes
        self._kept: OrderedDict[_Key, Tensor] = OrderedDict()
        self._in_work: dict[_Key, Event] = {}
        self._lock = Lock()

    def get(self, scan: str, region: Grid, encoder: str, encode: Callable[[], Tensor]) -> tuple[Tensor, bool]:
        """Return the embedding and whether it was there already; the least used ones make room.

        Whatever `encode` raises is raised here; a thread that waited for it then encodes itself.
        """
        key = (scan, region.shape, region.affine.round(6).tobytes(), encoder)
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key], True
                other = self._in_work.get(key)
                if other is None:
                    mine = self._in_work[key] = Event()
                    break
            other.wait()
        try:
            embedding = encode()
            with self._lock:
                self._kept[key] = embedding
                while len(self._kept) > 1 and sum(e.nbytes for e in self._kept.values()) > self.limit_bytes:
                    self._kept.popitem(last=False)
        finally:
            with self._lock:
                del self._in_work[key]
            mine.set()
        return embedding, False

    def __len__(self) -> int:
        """How many embeddings are kept."""
        return len(self._kept)
