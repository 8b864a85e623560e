"""What a session keeps for undo and redo: prompts, and low-resolution answers within a bound; no volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam_moe.predict.answered import Answered
from sam_moe.predict.answering import Answer
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.space.grid import Grid


@dataclass(frozen=True)
class Turn:
    """One call of `predict` or `refine`, as far as its answer can be made again from it to the bit.

    `home` is the region where one looked first; `placed` is how many points and boxes the model was given for
    the `count` items of the target up to here. `answer` is None of a turn that was let go of, and of one that
    had nothing to answer (`empty`).
    """

    home: Grid
    answer: Answer | None
    placed: int = 0
    count: int = 0
    answered: Answered | None = None
    empty: bool = False

    @property
    def zoomed_out(self) -> bool:
        """Whether the answer is on another region than the one where the target was looked at first."""
        return self.answer is not None and not self.answer.region.same_as(self.home)

    @property
    def nbytes(self) -> int:
        """What its answer takes."""
        return 0 if self.answer is None else self.answer.logits.nbytes

    @property
    def known(self) -> bool:
        """Whether nothing must be computed to go on from it."""
        return self.empty or self.answer is not None


class History:
    """The turns of one target, those taken back included, and the items that they were prompted with.

    Items are kept once, as they were given and as the model takes them. Beyond `limit_bytes` of answers the
    turns farthest from the present one keep their place but not their answer.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.past: list[Turn] = []
        self.future: list[Turn] = []
        self._items: list[Item] = []
        self._placed: list[Item] = []

    @property
    def present(self) -> Turn | None:
        """The turn whose answer stands."""
        return self.past[-1] if self.past else None

    @property
    def count(self) -> int:
        """How many items the standing answer was given to."""
        return self.past[-1].count if self.past else 0

    def items(self, count: int) -> Prompt:
        """The first items as they were given."""
        return Prompt(tuple(self._items[:count]))

    def placed(self, count: int) -> Prompt:
        """The first points and boxes, in millimetres, that the items come to."""
        return Prompt(tuple(self._placed[:count]))

    def begin(self, turn: Turn, items: Sequence[Item], placed: Sequence[Item]) -> None:
        """Take a new target's first turn; the target before is forgotten."""
        self.past, self.future = [turn], []
        self._items, self._placed = [*items], [*placed]

    def add(self, turn: Turn, items: Sequence[Item], placed: Sequence[Item]) -> None:
        """Take a turn with the items that are new in it; what was taken back is forgotten."""
        present = self.past[-1]
        self._items[present.count :], self._placed[present.placed :] = items, placed
        self.past.append(turn)
        self.future = []
        self._let_go()

    def back(self) -> None:
        """Move the standing turn to those taken back."""
        self.future.append(self.past.pop())

    def forth(self) -> None:
        """Move the turn taken back last to those that stand."""
        self.past.append(self.future.pop())

    def known(self) -> int:
        """How many turns, from the first, end with one that can be gone on from; 0 where none is."""
        return next((n for n in range(len(self.past), 0, -1) if self.past[n - 1].known), 0)

    def put(self, number: int, turn: Turn) -> None:
        """Put a turn that was made again in its place."""
        self.past[number] = turn
        self._let_go()

    def _let_go(self) -> None:
        held = sum(turn.nbytes for turn in (*self.past, *self.future))
        for turns, numbers in (
            (self.past, range(len(self.past) - 1)),
            (self.future, range(len(self.future))),
        ):
            for number in numbers:
                if held <= self.limit_bytes:
                    return
                held -= turns[number].nbytes
                if turns[number].answer is not None:
                    turns[number] = replace(turns[number], answer=None)
