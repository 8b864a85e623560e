"""Reading, computing and writing at once: no model waits for a disk or a codec (ours)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")


@dataclass(frozen=True)
class Finished(Generic[Item, Written]):
    """What became of one item: what writing it returned, or the error that ended it."""

    item: Item
    result: Written | None
    error: Exception | None = None


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Made],
    write: Callable[[Made], Written],
    ahead: int = 1,
) -> Iterator[Finished[Item, Written]]:
    """Take every item through three steps; yield each outcome once, as they end.

    `read` and `write` run in a thread of their own each, one item after the other in the order given, and
    `compute` in the caller's. An error ends its item alone. At most `ahead` items are read, or being read,
    beside the one that is computed, and as many wait to be written, so that memory is bounded.
    """
    rest = iter(items)
    reading: deque[tuple[Item, Future[Read]]] = deque()
    writing: deque[tuple[Item, Future[Written]]] = deque()
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:

        def read_ahead() -> None:
            while len(reading) < ahead:
                for item in rest:
                    reading.append((item, reader.submit(read, item)))
                    break
                else:
                    return

        read_ahead()
        try:
            while reading:
                item, coming = reading.popleft()
                error = coming.exception()
                read_ahead()
                if error is None:
                    try:
                        made = compute(coming.result())
                    except Exception as wrong:
                        error = wrong
                    else:
                        writing.append((item, writer.submit(write, made)))
                        del made
                del coming  # or it would keep what was read
                if error is not None:
                    if not isinstance(error, Exception):
                        raise error
                    yield Finished(item, None, error)
                while len(writing) > ahead:
                    yield _ended(*writing.popleft())
            while writing:
                yield _ended(*writing.popleft())
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=False, cancel_futures=True)


def _ended(item: Item, future: "Future[Written]") -> Finished[Item, Written]:
    error = future.exception()
    if error is None:
        return Finished(item, future.result())
    if not isinstance(error, Exception):
        raise error
    return Finished(item, None, error)
