"""The experts' decoders: made when first chosen, the longest unused let go, only the chosen ones run."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.shapes import Float, Int

D = TypeVar("D")


class ExpertBank(Generic[D]):
    """Decoders by id, in the gate's order; the general one is first and always held.

    What a decoder is, the bank does not know: it hands them to whoever asks for answers. `make_decoder` is
    called with the id of a specialist when that is first chosen, and again if it has been let go since.
    At most `most` specialists are held beside the general one. `calls` counts how often each was run.
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
        self._made: OrderedDict[str, D] = OrderedDict()

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the decoders in memory: the general one, then from longest unused to last used."""
        return (self.ids[0], *self._made)

    def decoder(self, index: int) -> D:
        """The decoder of an expert, made if need be."""
        if index == 0:
            return self.general
        name = self.ids[index]
        if name not in self._made:
            while len(self._made) >= self.most:
                self._made.popitem(last=False)  # first, so that never more than `most` are in memory
            self._made[name] = self._make(name)
        self._made.move_to_end(name)
        return self._made[name]

    def decode(
        self, experts: Int[Tensor, "b k"], call: Callable[[D, Int[Tensor, " r"]], Tensor]
    ) -> Float[Tensor, "b k ..."]:
        """Run each chosen expert once, on all rows of the batch that chose it.

        `call(decoder, rows)` answers these rows, one answer each, in their order.
        """
        if experts.numel() == 1:  # a click's usual case, spared the bookkeeping
            self.calls[self.ids[int(experts)]] += 1
            return call(self.decoder(int(experts)), torch.zeros(1, dtype=torch.long))[:, None]
        answers: Tensor | None = None
        for index in experts.unique().tolist():
            rows, slots = (experts == index).nonzero(as_tuple=True)
            answer = call(self.decoder(index), rows)
            self.calls[self.ids[index]] += 1
            if answers is None:
                answers = answer.new_empty(*experts.shape, *answer.shape[1:])
            answers[rows, slots] = answer
        if answers is None:
            raise ConfigError("no expert was chosen for any prompt. Expected a batch of at least one.")
        return answers

    def add(self, name: str) -> None:
        """Append an expert, which `make_decoder` must know; the gate needs a column for it."""
        if name in self.ids:
            raise ConfigError(f"expert {name!r} is in the bank already. Give the new one another id.")
        self.ids = (*self.ids, name)

    def remove(self, name: str) -> None:
        """Take an expert out; the gate's column of the same index must go with it."""
        if name not in self.ids[1:]:
            known = ", ".join(self.ids[1:]) or "none"
            raise ConfigError(
                f"expert {name!r} cannot be removed. Expected one of: {known}; the general expert stays."
            )
        self.ids = tuple(known for known in self.ids if known != name)
        self._made.pop(name, None)
