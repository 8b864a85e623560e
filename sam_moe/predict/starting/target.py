"""One label of a map as a target: its mask stands until a prompt changes it, and every change is undone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.starting.kept import KeptMask
from sam_moe.predict.starting.pieces import Click, Piece
from sam_moe.predict.starting.session import Session
from sam_moe.predict.starting.shown import ShownLabel, standing_mask
from sam_moe.prompts.lowering import lower
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.registry import Refine

_AGREES = "nothing changed: there the answer of {} agrees with the mask"


@dataclass(frozen=True)
class Step:
    """One call that changed a target, and its place among all targets' calls; of the box it has no items."""

    items: tuple[Item, ...]
    number: int


class LabelTarget:
    """A label of a map, refined by prompts; `Start` holds one a label.

    The map's mask is its first answer, and undo leads back to it, to the bit. What a prompt does is the
    label's `rule`. "box": the promptable model answers the box of the mask's largest part, and each prompt
    refines that answer as `Predictor.refine` does. "none": the mask stays, and a click changes the connected
    piece alone that it lies in, of the voxels where the model's answer to that box and to all clicks so far
    disagrees with the mask: a positive click adds a piece, a negative one takes one away. A label without a
    voxel has no mask, and a prompt begins it. The mask is not fed to the model, which learnt to be fed its
    own answers: on validation cases Dice fell from 0.77 to 0.66 (ours, as all of this).

    One call is answered after the other.

    Args:
        label: what is shown.
        fresh: begins a session of the promptable model on the scan.
        numbers: gives each call its place among those of all targets.
        limit_bytes: how many bytes of changed pieces are kept for undo; others are found again.
    """

    def __init__(
        self, label: ShownLabel, fresh: Callable[[], Session], numbers: Callable[[], int], limit_bytes: int
    ) -> None:
        self.label = label
        self._fresh, self._numbers = fresh, numbers
        self._session = fresh()
        self._past: list[Step] = []
        self._future: list[Step] = []
        kept = label.found and label.rule == "none"
        self._kept = KeptMask(label.piece, self._again, limit_bytes) if kept else None
        self._one_at_a_time = RLock()

    @property
    def name(self) -> str:
        """The label's name."""
        return self.label.name

    @property
    def rule(self) -> Refine:
        """What the model does with the mask; a label without a voxel has none to keep."""
        return self.label.rule

    @property
    def found(self) -> bool:
        """Whether the map has a voxel of it; otherwise a prompt begins it."""
        return self.label.found

    @property
    def prompt(self) -> Prompt:
        """All items that were given for it, in order; the box of the mask is none of them."""
        return Prompt(tuple(item for step in self._past for item in step.items))

    @property
    def changed_at(self) -> int:
        """The place of its last prompt among all targets' calls; 0 where no prompt stands."""
        return max((step.number for step in self._past if step.items), default=0)

    @property
    def answered_by(self) -> str:
        """Whose answer stands, in words; also that the label was not found."""
        made_by, model = self.label.map.made_by, self._session.model.id
        if not self._past:
            return f"automatic, by {made_by}" if self.found else "not found"
        prompts = "a prompt" if len(self.prompt) == 1 else f"{len(self.prompt)} prompts"
        if not self.found:
            return f"{prompts}, by {model}"
        if self._kept is not None:
            return f"automatic, by {made_by}; pieces at {prompts}, by {model}"
        box = f"box of the automatic mask, by {model}"
        return f"{box}, and {prompts}" if len(self.prompt) else box

    def standing(self) -> Prediction | None:
        """The answer that stands; None of a label that was not found, before a prompt."""
        with self._one_at_a_time:
            whole = bool(self._past) and self._kept is None
            return self._present(self._session.standing() if whole else None)

    def refine_by_rule(self) -> Prediction | None:
        """Let the model answer the box of the mask where the rule is "box"; returns what then stands.

        Where the mask is kept, or none was found, or prompts were given, nothing changes.
        """
        with self._one_at_a_time:
            if self.rule == "none" or not self.found or self._past:
                return self.standing()
            begun = len(self._session.prompt) > 0
            answer = self._session.standing() if begun else self._session.predict(self.label.bounds())
            self._add(Step((), self._numbers()))
            return answer

    def refine(self, *items: Item | Prompt) -> Prediction:
        """Add items; what was undone before is forgotten.

        A kept mask stands where the model agrees with it at the click, and the answer's `remark` is why.

        Args:
            items: as for `Predictor.refine`; of a kept mask clicks, strokes and loops alone.

        Raises:
            PromptError: as `Predictor.refine`, and for a box where the mask is kept. Nothing changes then.
        """
        with self._one_at_a_time:
            given = tuple(_items(items))
            clicks = [] if self._kept is None else self._clicks(given)
            if self.found and not len(self._session.prompt):
                self._session.predict(self.label.bounds())
            answer = self._session.refine(*given)
            if self._kept is not None:
                try:
                    self._kept.change(_piece(answer), clicks)
                except BaseException:
                    self._session.undo()
                    raise
            self._add(Step(given, self._numbers()))
            found = self._present(answer)
            assert found is not None
            return found

    def undo(self) -> Prediction | None:
        """Take back the last call; the answer before it, to the bit, in the end the mask as it was shown.

        Where nothing was done the mask as it was shown, None of a label that was not found.
        """
        with self._one_at_a_time:
            if not self._past:
                return self._present(None)
            if self._kept is not None:
                self._kept.back()
            answer = self._over(
                self._past[-1], self._session.undo, None if self._kept is None else self._kept.forth
            )
            self._future.append(self._past.pop())
            return self._present(answer)

    def redo(self) -> Prediction | None:
        """Bring back the call that was undone last; where none was, what stands."""
        with self._one_at_a_time:
            if not self._future:
                return self.standing()
            if self._kept is not None:
                self._kept.forth()
            answer = self._over(
                self._future[-1], self._session.redo, None if self._kept is None else self._kept.back
            )
            self._past.append(self._future.pop())
            return self._present(answer)

    def _over(
        self, step: Step, move: Callable[[], Prediction | None], back: Callable[[], None] | None
    ) -> Prediction | None:
        """Go over a step in the session; where that fails the mask goes back."""
        try:
            return move() if step.items else self._session.standing()
        except BaseException:
            if back is not None:
                back()
            raise

    def _present(self, answer: Prediction | None) -> Prediction | None:
        """What stands after the last step; `answer` is the session's."""
        if self._past and self._kept is None:
            return answer
        if not self.found:
            return None
        made_by, grid = self.label.map.made_by, self.label.map.grid
        if self._kept is None or not self._past:
            return standing_mask(self.label.piece(), grid, made_by)
        last, model = self._kept.past[-1], self._session.model.id
        return replace(
            standing_mask(self._kept.piece, grid, f"{made_by}, pieces by {model}"),
            prompt=self.prompt,
            gained=last.gained,
            lost=last.lost,
            remark="" if last.gained or last.lost else _AGREES.format(model),
            cached=answer is None or answer.cached,
            timings_ms={} if answer is None else answer.timings_ms,
        )

    def _again(self, count: int) -> Iterator[tuple[Piece, Sequence[Click]]]:
        """What the first steps of a kept mask were answered, and their clicks."""
        session = self._fresh()
        session.predict(self.label.bounds())
        for step in [*self._past, *reversed(self._future)][:count]:
            yield _piece(session.refine(*step.items)), self._clicks(step.items)

    def _clicks(self, items: Sequence[Item]) -> list[Click]:
        """The voxels of the scan that items come to.

        Raises:
            PromptError: for a box, or a stroke or loop of which nothing lies in the scan.
        """
        grid = self._session.scan.grid
        lowered = lower(Prompt(tuple(items)), grid.affine, grid.shape, self._session.model.lowering)
        if lowered.boxes:
            raise PromptError(
                f"the mask of {self.name!r} is kept, and a box would replace all of it. Expected clicks, "
                "strokes or loops, which change the piece they lie in; for an answer to a box, start from "
                f'the map with refine={{"{self.name}": "box"}}, or predict it as a target of its own.'
            )
        found = []
        for point in lowered.points:
            i, j, k = (int(n) for n in np.rint(grid.index_of(point.at)))
            found.append(Click((i, j, k), point.positive))
        return found

    def _add(self, step: Step) -> None:
        self._past.append(step)
        self._future = []


def _piece(answer: Prediction) -> Piece:
    inside, where = answer.part
    return Piece.of(inside, tuple(each.start for each in where))


def _items(items: Iterable[Item | Prompt]) -> Iterator[Item]:
    for item in items:
        yield from item if isinstance(item, Prompt) else (item,)
