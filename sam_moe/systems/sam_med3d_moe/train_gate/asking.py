"""All experts prompted on the same regions, which makes a gate's table."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptEncoder, PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Bool, Float
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gate_input
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Clicked, Conversation, Opening
from sam_moe.systems.sam_med3d_moe.prompted.measuring import ROUNDS
from sam_moe.systems.sam_med3d_moe.train_gate.members import Decoders
from sam_moe.systems.sam_med3d_moe.train_gate.regions import UNLABELLED, WAYS, Drawn, Way
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable, low_dice, table_of

_BATCH = 8
_JITTER = 0.06


@dataclass(frozen=True)
class Asking:
    """How experts are prompted for a table, and what is kept of it.

    Args:
        seed: of clicks and the jitter of boxes.
        scored: whether every expert answers every prompt; else its owner alone.
        keep: edge in voxels to which answers and targets are averaged and kept; None keeps neither.
        turns: answers to each prompt: the first and its corrections.
    """

    seed: int
    scored: bool = True
    keep: int | None = None
    turns: int = ROUNDS


class AllExperts:
    """A model that answers by several experts at once and goes on with the owner's answer (`Answering`)."""

    def __init__(self, decoders: Decoders, owner: int, asked: Sequence[int]):
        self.model, self.experts, self.owner, self.asked = decoders.model, decoders.each, owner, tuple(asked)
        self.turns: list[tuple[GateInput, Tensor]] = []

    @property
    def sizes(self) -> Sizes:
        """The model's."""
        return self.model.sizes

    @property
    def prompt_encoder(self) -> PromptEncoder:
        """The model's."""
        return self.model.prompt_encoder

    def decode(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens
    ) -> Float[Tensor, "b 1 l l l"]:
        """The owner's answer; `turns` keeps what the gate sees and all answers, NaN of experts not asked."""
        dense_map = self.model.prompt_encoder.dense_map()
        low = self.model.sizes.low_res
        answers = embedding.new_full((len(embedding), len(self.experts), low, low, low), torch.nan)
        for index in self.asked:
            found = self.experts[index](embedding, dense_map, tokens.sparse, tokens.dense)
            answers[:, index] = found.logits[:, 0]
        self.turns.append((gate_input(embedding, tokens.sparse, tokens.places), answers))
        return answers[:, self.owner, None].clone()


@torch.no_grad()
def build_table(
    decoders: Decoders,
    drawn: Iterable[Drawn],
    asking: Asking,
    report: Callable[[int], None] | None = None,
) -> GateTable:
    """Prompt each region the way that it was drawn for, then correct, and note what was seen.

    Corrections answer the owner's errors. `report` is given the number of regions that are done.

    Raises:
        ConfigError: without a region.
    """
    rng, keep = torch.Generator().manual_seed(asking.seed), asking.keep
    names: dict[str, int] = {}
    cases: dict[str, int] = {}
    found: list[dict[str, Tensor]] = []
    done = 0
    for batch in _batches(drawn):
        owner, blank, way = batch[0].owner, batch[0].structure == UNLABELLED, batch[0].way
        asked = sorted({0, owner}) if blank else [owner]
        if asking.scored or keep:
            asked = list(range(len(decoders.each)))
        panel = AllExperts(decoders, owner, asked)
        image, target = torch.stack([d.image for d in batch]), torch.stack([d.target for d in batch])
        talk = _begun(panel, decoders.model.encode(image), target, rng, way, decoders.box_strategy)
        for turn in range(asking.turns):
            answer = talk.ask()
            if turn + 1 < asking.turns:
                talk.correct(answer)
        numbers = torch.tensor([names.setdefault(d.structure, len(names)) for d in batch])
        scans = torch.tensor([cases.setdefault(d.case, len(cases)) for d in batch])
        for turn, (seen, answers) in enumerate(panel.turns):
            soft = (answers[:, 0] > 0).float() if blank else talk.soft[:, 0]
            rows = {
                **{part: values.half() for part, values in seen._asdict().items()},
                "owner": torch.full((len(soft),), owner),
                "scores": low_dice(answers, soft),
                "way": torch.full((len(soft),), WAYS.index(way)),
                "turn": torch.full((len(soft),), turn),
                "region": torch.arange(len(soft)) + done,
                "structure": numbers,
                "scan": scans,
            }
            if keep is not None:
                step = soft.shape[-1] // keep
                rows["answers"] = F.avg_pool3d(answers, step).half()
                rows["targets"] = F.avg_pool3d(soft[:, None], step)[:, 0].half()
            found.append(rows)
        done += len(batch)
        if report is not None:
            report(done)
    if not found:
        raise ConfigError("no region could be drawn for the gate's table. Name cases in the splits file.")
    return table_of({key: torch.cat([rows[key] for rows in found]) for key in found[0]}, tuple(names))


def _begun(
    panel: AllExperts,
    embedding: Float[Tensor, "b c g g g"],
    target: Bool[Tensor, "b 1 s s s"],
    rng: torch.Generator,
    way: Way,
    box_strategy: BoxStrategy,
) -> Conversation:
    """A conversation that begins with a click on the middle voxel, or with a jittered box."""
    every, none, size = torch.arange(len(target)), torch.arange(0), target.shape[-1]
    if way == "click":
        middle = torch.full((len(target), 3), float(size // 2))
        opening = Opening({}, _JITTER, Clicked(every, middle))
    else:
        opening = Opening({box_strategy: every}, _JITTER, Clicked(none))
    return Conversation(panel, embedding, target, rng, opening)


def _batches(drawn: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    """At most `_BATCH` in a row of one owner and way; places without a label stand by themselves."""
    for _, group in groupby(drawn, key=lambda d: (d.owner, d.structure == UNLABELLED, d.way)):
        batch: list[Drawn] = []
        for one in group:
            batch.append(one)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
