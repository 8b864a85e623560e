"""A mask that changes piece by piece and can go back and forth; what it keeps for that has a bound."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sam_moe.predict.starting.pieces import Click, PackedPiece, Piece, disagreement

# What each of the first calls answered, and where it was clicked.
Again = Callable[[int], Iterable[tuple[Piece, Sequence[Click]]]]


@dataclass(frozen=True)
class Change:
    """What one call changed; `packed` is None of a piece that was let go of."""

    packed: PackedPiece | None
    gained: int
    lost: int

    @property
    def nbytes(self) -> int:
        """What its piece takes."""
        return 0 if self.packed is None else self.packed.nbytes


class KeptMask:
    """A mask, its changes, and those taken back.

    Changes are kept packed; beyond `limit_bytes` those farthest from the present one are let go of, and found
    again where one walks over them: equal to the bit, as `again` answers the same.

    Args:
        first: the mask before any change.
        again: the answers to the first so many calls and their clicks, anew.
        limit_bytes: how many bytes of changes are kept.
    """

    def __init__(self, first: Callable[[], Piece], again: Again, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.past: list[Change] = []
        self.future: list[Change] = []
        self._first, self._again = first, again
        self._piece: Piece | None = None  # None before any change

    @property
    def piece(self) -> Piece:
        """The mask as it stands."""
        return self._first() if self._piece is None else self._piece

    def change(self, answer: Piece, clicks: Sequence[Click]) -> None:
        """Change the pieces in which an answer disagrees and that clicks lie in; what was undone is gone."""
        self._piece, change = _changed(self.piece, answer, clicks)
        self.past, self.future = [*self.past, change], []
        self._let_go()

    def back(self) -> None:
        """Take the last change back."""
        self._toggle(self.past[-1], len(self.past) - 1)
        self.future.append(self.past.pop())

    def forth(self) -> None:
        """Bring back the change that was taken back last."""
        self._toggle(self.future[-1], len(self.past) + 1)
        self.past.append(self.future.pop())

    def _toggle(self, change: Change, count: int) -> None:
        """Go over a change to the mask after the first `count` of them."""
        if change.packed is not None:
            self._piece = self.piece.toggled(change.packed.unpacked())
            return
        piece, found = self._first(), list[Change]()
        for answer, clicks in self._again(count):
            piece, one = _changed(piece, answer, clicks)
            found.append(one)
        assert len(found) == count
        known = [*found, *[*self.past, *reversed(self.future)][count:]]
        self._piece = piece
        self.past, self.future = known[: len(self.past)], known[len(self.past) :][::-1]
        self._let_go()

    def _let_go(self) -> None:
        held = sum(change.nbytes for change in (*self.past, *self.future))
        for changes in (self.past, self.future):
            for number, change in enumerate(changes):
                if held <= self.limit_bytes:
                    return
                held -= change.nbytes
                changes[number] = replace(change, packed=None)


def _changed(mask: Piece, answer: Piece, clicks: Sequence[Click]) -> tuple[Piece, Change]:
    found = disagreement(mask, answer, clicks)
    change = Change(PackedPiece.of(found.both), found.gained.voxels, found.lost.voxels)
    return mask.toggled(found.both), change
