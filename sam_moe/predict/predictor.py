"""A session on one scan: every click gets an answer on the scan's own voxels, and can be undone."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import RLock
from time import perf_counter

import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.moe.routing import Routing
from sam_moe.predict.answering import Answer, ask, choose
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.history import History, Turn
from sam_moe.predict.parts import ModelParts
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.predict.regions.cut import cut
from sam_moe.predict.regions.refine import plan, refine
from sam_moe.predict.regions.where import bounds_of, covers, home_of, touches_border, warn_of_boxes, wider
from sam_moe.predict.timing import Cost, timed
from sam_moe.progress import Progress
from sam_moe.prompts.lowering import lower
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

_NOTHING = "nothing was given: give at least one Point or Box, Stroke or Loop."


class Predictor:
    """A session: segment what prompts point at in one scan; no ground truth is ever needed.

    `Model.open` makes it. `predict` starts a target, `refine` adds a click to it with the previous answer fed
    back, `undo` and `redo` walk along its history. The region of interest follows from the prompt; where the
    target turns out larger, the region zooms out and the result is refined with overlapping regions (unless
    `model.whole_targets` is False). Embeddings are cached, so further clicks cost only the decoder. Sessions
    of one model can be used by several threads at a time; one session answers one call after the other.
    """

    def __init__(
        self,
        model: ModelParts,
        scan: Volume,
        scan_fingerprint: str,
        floor: float,
        *,
        cache: EmbeddingCache,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.scan, self.scan_fingerprint = model, scan, scan_fingerprint
        self.cache, self.progress = cache, progress
        self._floor = floor  # the intensity of what lies outside the scan
        self._history = History(model.history_bytes)
        self._one_at_a_time = RLock()

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.model.id

    @property
    def prompt(self) -> Prompt:
        """What the current target was prompted with so far, in order."""
        return self._history.items(self._history.count)

    def predict(self, *items: Item | Prompt) -> Prediction:
        """Answer a new target's prompt: one or more points and boxes, or prompts, in voxels or millimetres.

        A prompt of negative points alone names nothing to segment: its mask is empty.

        Raises:
            PromptError: without items, or for one that lies outside the scan; the target before then stands.
        """
        return self._start_turn(items, None)

    def refine(self, *items: Item | Prompt) -> Prediction:
        """Add items to the current target; the previous answer is fed back. Without a target it begins one.

        Raises:
            PromptError: as `predict`; the target then stays as it was.
        """
        with self._one_at_a_time:
            return self._start_turn(items, self._history.present)

    def undo(self) -> Prediction | None:
        """Take back the last call of `predict` or `refine`, whatever it added; None when nothing is left.

        The answer before is the same to the bit; of many clicks ago it may have to be computed again.
        """
        with self._one_at_a_time:
            history = self._history
            return self._walk(history.back, history.forth) if history.past else None

    def redo(self) -> Prediction | None:
        """Bring back what was undone last; without such the standing answer, None where there is none."""
        with self._one_at_a_time:
            history = self._history
            return self._walk(history.forth, history.back) if history.future else self._standing()

    def predict_targets(self, targets: Mapping[str, Prompt]) -> LabelMap:
        """Answer several targets and join them; label n is the n-th name, the more probable target wins.

        The last target is the one that `refine` goes on with.

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
            turn, cached = self._answer(world, last, region, cost)
            turn = replace(turn, count=before + len(new))
            result = self._result(turn, world, cost)
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
            again, there = self._answer(history.placed(old.placed), turn, None if number else old.home, cost)
            turn, cached = replace(again, count=old.count, answered=old.answered), cached and there
            history.put(number, turn)
        if turn is None:
            return None
        result = self._result(turn, history.placed(turn.placed), cost)
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

    def _answer(self, world: Prompt, last: Turn | None, region: Grid | None, cost: Cost) -> tuple[Turn, bool]:
        """Find the region, answer on it, follow the target beyond it; and whether its encoding was there."""
        if not world.shows_target:
            return Turn(home_of(world, self.model.preprocessing), None, len(world), empty=True), True
        home, answer, cached = self._first_region(world, last, region, cost)
        warn_of_boxes(world, answer.region, self.model_id)
        if self.model.whole_targets and not world.boxes:  # a box bounds the target
            answer, cached = self._zoom_out(answer, world, cached, cost)
        return Turn(home, answer, len(world), answered=answer.answered), cached

    def _result(self, turn: Turn, world: Prompt, cost: Cost) -> Volume:
        """The probability that a turn's answer comes to, refined where it had to be coarse."""
        answer, card = turn.answer, self.model.preprocessing
        if answer is None:
            return Volume(torch.zeros(turn.home.shape), turn.home)
        result = answer.probability()
        finest = card.spacing_mm
        if self.model.whole_targets and answer.region.spacing_mm[0] > finest * card.refine_beyond * 1.01:
            regions = plan(result, card.region_shape, finest, self.model.refine_regions)
            if regions:  # of an empty mask there is nothing to refine

                def ask_there(region: Grid, prompt: Prompt, previous: Tensor) -> Answer:
                    return self._decode_region(region, prompt, previous, answer.routing, cost)[0]

                result = refine(answer, world, regions, ask_there, partial(self._report, "refining"))
        return result

    def _first_region(
        self, world: Prompt, last: Turn | None, region: Grid | None, cost: Cost
    ) -> tuple[Grid, Answer, bool]:
        """Answer where the last answer was, or in a region that is given, or where the prompt asks for.

        Experts are chosen where the target was looked at first, whatever wider region followed it since:
        that is the view which a gate learns from, and it is encoded already.
        """
        model, routing = self.model, None
        before = None if last is None else last.answer
        if last is None or before is None or not covers(before.region, world):
            home = region = region or home_of(world, model.preprocessing)
        else:
            home, region = last.home, before.region
            if before.routing is not None and last.zoomed_out:
                embedding, _ = self._embed(home, cost)
                with timed(cost.timings, "decode"):
                    routing = choose(model.network, embedding, home, world)
        previous = None if before is None else before.fed_to(region)
        return home, *self._decode_region(region, world, previous, routing, cost)

    def _zoom_out(self, answer: Answer, world: Prompt, cached: bool, cost: Cost) -> tuple[Answer, bool]:
        """Zoom out as long as the mask runs into its region's border and the scan goes on behind it."""
        while touches_border(answer.logits > 0, answer.region, self.scan.grid):
            region = wider(answer.region, self.model.preprocessing)
            if region is None:
                break
            log.info("the mask reaches its region's border; zooming out to %.2f mm", region.spacing_mm[0])
            answer, cached = self._decode_region(region, world, None, answer.routing, cost)
        return answer, cached

    def _decode_region(
        self, region: Grid, world: Prompt, previous: Tensor | None, routing: Routing | None, cost: Cost
    ) -> tuple[Answer, bool]:
        """One region: embedded, then decoded, by experts chosen before if there are any."""
        model = self.model
        embedding, cached = self._embed(region, cost)
        with timed(cost.timings, "decode"):
            answer = ask(model.network, embedding, region, world, previous, routing)
        if answer.answered is not None:
            cost.regions[" + ".join(answer.answered.experts)] += 1
        return answer, cached

    def _embed(self, region: Grid, cost: Cost) -> tuple[Tensor, bool]:
        """Cut and encode a region unless that was done before."""
        model = self.model

        def encode() -> Tensor:
            self._report("encoding", 0.0)
            with timed(cost.timings, "cut"):
                image = cut(self.scan, region, model.preprocessing.spacing_mm, self._floor)
            with timed(cost.timings, "encode"), torch.no_grad():
                half = None if model.dtype == torch.float32 else model.dtype
                return model.network.embed(image, half)

        return self.cache.get(self.scan_fingerprint, region, model.embedding_key, encode)

    def _report(self, stage: str, share: float) -> None:
        if self.progress:
            self.progress(stage, share)


def _parts(item: Item | Prompt) -> Iterable[Item]:
    return item if isinstance(item, Prompt) else (item,)
