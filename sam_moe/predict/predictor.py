"""A session on one scan: every click gets an answer on the scan's own voxels, and can be undone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from time import perf_counter

from sam_moe.errors import PromptError
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.following import Follower
from sam_moe.predict.history import History, Turn
from sam_moe.predict.parts import ModelParts
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.predict.regions.where import bounds_of, home_of
from sam_moe.predict.starting.start import Start, start
from sam_moe.predict.timing import Cost, timed
from sam_moe.progress import Progress
from sam_moe.prompts.lowering import lower
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

_NOTHING = "nothing was given: give at least one Point or Box, Stroke or Loop."


class Predictor:
    """A session on one scan: segments what prompts point at, one target after the other.

    `Model.open` makes it. `predict` starts a target, `refine` adds a click to it with the previous answer fed
    back, `undo` and `redo` walk along its history. The region of interest follows from the prompt; where the
    target turns out larger, the region zooms out and the result is refined with overlapping regions (unless
    `model.whole_targets` is False). Embeddings are cached, so further clicks cost only the decoder. Sessions
    of one model can be used by several threads at a time; one session answers one call after the other.

    Attributes:
        model: what answers.
        scan: the scan, on the grid that all masks lie on.
        scan_fingerprint: its content's checksum, by which embeddings are kept.
        cache: where embeddings are kept.
        progress: called with a stage's name and the share of it that is done.
    """

    def __init__(
        self,
        model: ModelParts,
        scan: Volume,
        scan_fingerprint: str,
        outside: float,
        *,
        cache: EmbeddingCache,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.scan, self.scan_fingerprint = model, scan, scan_fingerprint
        self.cache, self.progress = cache, progress
        self._outside = outside
        self._follower = Follower(model, scan, scan_fingerprint, outside, cache, progress)
        self._history = History(model.history_bytes)
        self._one_at_a_time = RLock()

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.model.id

    @property
    def prompt(self) -> Prompt:
        """All items of the current target, in order, as they were given; empty where there is none."""
        return self._history.items(self._history.count)

    def predict(self, *items: Item | Prompt) -> Prediction:
        """Answer a new target's prompt; the target before it is forgotten.

        Negative items alone name nothing to segment: the mask is empty.

        Args:
            items: one or more of `Point`, `Box`, `Stroke`, `Loop`, or prompts of them, in voxel indices of
                the scan (i, j, k) or in RAS+ millimetres, each as its `space` names.

        Raises:
            PromptError: without items, or for one that lies outside the scan; the target before then stays.
        """
        return self._start_turn(items, None)

    def refine(self, *items: Item | Prompt) -> Prediction:
        """Add items to the current target; the previous answer is fed back. Without a target it begins one.

        What was undone before is forgotten.

        Args:
            items: as for `predict`.

        Raises:
            PromptError: as `predict`; the target then stays as it was.
        """
        with self._one_at_a_time:
            return self._start_turn(items, self._history.present)

    def undo(self) -> Prediction | None:
        """Take back the last call of `predict` or `refine`, with all items that it added.

        Returns the answer before it, the same to the bit (one of many clicks ago may be computed again); None
        where that was the target's first call, or there is no target.
        """
        with self._one_at_a_time:
            history = self._history
            return self._walk(history.back, history.forth) if history.past else None

    def redo(self) -> Prediction | None:
        """Bring back the call that was undone last.

        Returns its answer, the same to the bit; where nothing was undone the standing answer, and None where
        there is no target.
        """
        with self._one_at_a_time:
            history = self._history
            return self._walk(history.forth, history.back) if history.future else self._standing()

    def standing(self) -> Prediction | None:
        """The standing answer, the same to the bit; None where there is no target."""
        with self._one_at_a_time:
            return self._standing()

    def predict_targets(self, targets: Mapping[str, Prompt]) -> LabelMap:
        """Answer several targets and join them; where two claim a voxel, the more probable one has it.

        Label n is the n-th name. The last target is the one that `refine` goes on with.

        Args:
            targets: a prompt for each name, in the order of the labels.

        Raises:
            PromptError: for none or more than 255 targets, or a prompt that `predict` refuses.
        """
        if not 0 < len(targets) <= 255:
            raise PromptError(f"{len(targets)} targets do not make a label map; give 1 to 255 named prompts.")
        regions: list[Grid | None] = [None] * len(targets)
        if (sharing := self.model.sharing) is not None:
            placed = [self._placed(Prompt(), prompt) for prompt in targets.values()]
            regions = [*sharing.share([home_of(prompt, self.model.preprocessing) for prompt in placed])]
        pairs = zip(targets.items(), regions, strict=True)
        with self._one_at_a_time:
            return LabelMap.joined(
                {
                    name: self._start_turn((prompt,), None, there).lightened()
                    for (name, prompt), there in pairs
                }
            )

    def start_from(self, label_map: LabelMap, refine: Mapping[str, str] | None = None) -> Start:
        """Take up a label map: each label is a target whose mask stands, and which prompts refine.

        Nothing is answered yet: the masks are shown as they are. The session's own target stays.

        Args:
            label_map: on the scan's grid; an automatic model's `segment()`, or `LabelMap.read` of a file.
            refine: in place of what the map says of its labels: "box", the model answers the box of a mask
                better than the mask is; "none", the mask is kept, and a click changes the piece it lies in.

        Raises:
            GeometryError: for a map on another grid.
            PromptError: for a map that names no label, or one name twice, and for `refine` of another name
                or by another rule.
            ValuesError: for labels without a name.
        """
        model = self.model
        share = replace(model, history_bytes=model.history_bytes // max(1, 2 * len(label_map.names)))

        def fresh() -> "Predictor":
            return Predictor(
                share,
                self.scan,
                self.scan_fingerprint,
                self._outside,
                cache=self.cache,
                progress=self.progress,
            )

        return start(label_map, self.scan.grid, refine, fresh, model.history_bytes // 2)

    def _start_turn(
        self, items: Sequence[Item | Prompt], last: Turn | None, region: Grid | None = None
    ) -> Prediction:
        """Answer items that go on from the last turn or from nothing; refused ones change nothing."""
        with self._one_at_a_time:
            history, cost, start = self._history, Cost(), perf_counter()
            before, known = (0, 0) if last is None else (last.count, last.placed)
            new = Prompt(tuple(each for item in items for each in _parts(item)))
            placed = self._placed(history.items(before), new)
            world = Prompt((*history.placed(known), *placed))
            turn, cached = self._follower.turn(world, last, region, cost)
            turn = replace(turn, count=before + len(new))
            result = self._follower.probability(turn, world, cost)
            if turn.answered is not None:
                regions = dict(cost.regions.most_common())
                turn = replace(turn, answered=replace(turn.answered, regions=regions))
            (history.begin if last is None else history.add)(turn, new.items, placed.items)
            cost.timings["other"] = max(0.0, 1000 * (perf_counter() - start) - sum(cost.timings.values()))
            return self._prediction(turn, result, cached, cost.timings)

    def _placed(self, before: Prompt, new: Prompt) -> Prompt:
        """New items as the model takes them, in millimetres: all prompts pass here, each item once.

        Raises:
            PromptError: for no items, or one outside the scan, numbered as it comes after those `before`.
        """
        if not len(new):
            raise PromptError(_NOTHING)
        grid = self.scan.grid
        try:
            new.check_inside(grid.affine, grid.shape)
        except PromptError:
            Prompt((*before, *new)).check_inside(grid.affine, grid.shape)
            raise
        return lower(new, grid.affine, grid.shape, self.model.lowering)

    def _walk(self, move: Callable[[], None], back: Callable[[], None]) -> Prediction | None:
        """Go along the history; an answer that cannot be computed again leaves it as it was."""
        move()
        try:
            return self._standing()
        except BaseException:
            back()
            raise

    def _standing(self) -> Prediction | None:
        """The standing answer; turns whose answers were let go of are answered again."""
        history, cost = self._history, Cost()
        first = history.known()
        turn, cached = history.past[first - 1] if first else None, True
        for number in range(first, len(history.past)):
            old = history.past[number]
            again, there = self._follower.turn(
                history.placed(old.placed), turn, None if number else old.home, cost
            )
            turn, cached = replace(again, count=old.count, answered=old.answered), cached and there
            history.put(number, turn)
        if turn is None:
            return None
        result = self._follower.probability(turn, history.placed(turn.placed), cost)
        return self._prediction(turn, result, cached, cost.timings)

    def _prediction(self, turn: Turn, result: Volume, cached: bool, timings: dict[str, float]) -> Prediction:
        with timed(timings, "restore"):
            prediction = Prediction(
                answer=result,
                grid=self.scan.grid,
                prompt=self.prompt,
                region=turn.home if turn.answer is None else turn.answer.region,
                model_id=self.model_id,
                cached=cached,
                timings_ms=timings,
                answered=turn.answered,
                within=bounds_of(self._history.placed(turn.placed)),
            )
            prediction.mask  # noqa: B018  # computed now, so that the timings are the whole of it
        return prediction


def _parts(item: Item | Prompt) -> Iterable[Item]:
    return item if isinstance(item, Prompt) else (item,)
