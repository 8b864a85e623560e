"""The experts' decoders: made when first chosen, the longest unused let go, only the chosen ones run."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.moe.dispatching.rows import dense, grouped
from sam_moe.moe.names import Dispatch
from sam_moe.shapes import Float, Int

D = TypeVar("D")


class _Slot(Generic[D]):
    """A place in memory for one specialist; `made` is empty while that is being made."""

    def __init__(self) -> None:
        self.made: list[D] = []
        self.users = 0


class ExpertBank(Generic[D]):
    """Decoders by id, in the gate's order; the general one is first and always held.

    What a decoder is, the bank does not know: it gives them to the `call` of `decode`. `make_decoder` is
    called with the id of a specialist when that is first chosen, and again if it has been let go since.
    At most `most` specialists are held beside the general one, those in use included: a thread that needs one
    more waits until another is no longer used. `calls` counts how often each was run.
    """

    def __init__(
        self, ids: Iterable[str], make_decoder: Callable[[str], D], general: D, most: int = 4
    ) -> None:
        self.ids = tuple(ids)
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise ConfigError(
                f"a bank of experts {', '.join(self.ids) or '(none)'} cannot be. Expected the general "
                "expert's id, then different ones."
            )
        if most < 1:
            raise ConfigError(f"at most {most} experts held: none could answer. Expected 1 or more.")
        self.general = general
        self.most = most
        self.calls: Counter[str] = Counter()
        self._make = make_decoder
        self._slots: OrderedDict[str, _Slot[D]] = OrderedDict()
        self._changed = Condition()

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the decoders in memory: the general one, then from longest unused to last used."""
        with self._changed:
            return (self.ids[0], *self._slots)

    def decoder(self, index: int) -> D:
        """The decoder of an expert, made if need be; `using` is for threads, and for `most` to hold."""
        with self.using(index) as decoder:
            return decoder

    @contextmanager
    def using(self, index: int) -> Iterator[D]:
        """The decoder of an expert for the time of a block, made if need be; it is not let go meanwhile.

        Use one at a time: a block within a block may wait for ever where `most` is 1.
        """
        if index == 0:
            yield self.general
            return
        slot = self._take(self.ids[index])
        try:
            yield slot.made[0]
        finally:
            self._give_back(slot)

    def _take(self, name: str) -> _Slot[D]:
        """A slot whose decoder is made and is counted as used."""
        with self._changed:
            while True:
                slot = self._slots.get(name)
                if slot is not None and slot.made:
                    slot.users += 1
                    self._slots.move_to_end(name)
                    return slot
                if slot is None and self._make_room():
                    slot = self._slots[name] = _Slot()
                    slot.users = 1
                    break
                self._changed.wait()
        try:
            slot.made.append(self._make(name))  # no lock is held: others go on meanwhile
        except BaseException:
            with self._changed:
                if self._slots.get(name) is slot:
                    del self._slots[name]
                self._changed.notify_all()
            raise
        with self._changed:
            self._changed.notify_all()
        return slot

    def _make_room(self) -> bool:
        """Let the longest unused go, first, so that never more than `most` are in memory."""
        while len(self._slots) >= self.most:
            idle = next((name for name, slot in self._slots.items() if not slot.users), None)
            if idle is None:
                return False
            del self._slots[idle]
        return True

    def _give_back(self, slot: _Slot[D]) -> None:
        with self._changed:
            slot.users -= 1
            self._changed.notify_all()

    def _run(
        self, index: int, rows: Int[Tensor, " r"], call: Callable[[D, Int[Tensor, " r"]], Tensor]
    ) -> Tensor:
        with self.using(index) as decoder:
            answer = call(decoder, rows)
        with self._changed:
            self.calls[self.ids[index]] += 1
        return answer

    def decode(
        self,
        experts: Int[Tensor, "*rows k"],
        call: Callable[[D, Int[Tensor, " r"]], Tensor],
        dispatch: Dispatch = "grouped",
    ) -> Float[Tensor, "..."]:
        """Run each chosen expert once, on all rows of the batch that chose it, as `dispatch.grouped` does.

        `call(decoder, rows)` answers these rows, one answer each, in their order. "dense" makes and runs
        every expert on every row, as `dispatch.dense` does.
        """
        if not experts.numel():
            raise ConfigError("no expert was chosen for any prompt. Expected a batch of at least one.")

        def run(index: int, rows: Int[Tensor, " r"]) -> Tensor:
            return self._run(index, rows, call)

        return dense(experts, len(self.ids), run) if dispatch == "dense" else grouped(experts, run)

    def add(self, name: str) -> None:
        """Append an expert, which `make_decoder` must know; the gate needs a column for it."""
        with self._changed:
            if name in self.ids:
                raise ConfigError(f"expert {name!r} is in the bank already. Give the new one another id.")
            self.ids = (*self.ids, name)
