"""A table of prompts to learn routing from: what the gate sees of each, whose it is, how every expert did."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.files import replacing
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptEncoder, PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Bool, Float, Int
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gate_input
from sam_moe.systems.sam_med3d_moe.pretrain.validation import ROUNDS
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Clicked, Conversation
from sam_moe.systems.sam_med3d_moe.train_gate.regions import UNLABELLED, WAYS, Drawn, Way

# Counts up when the same regions would give another table.
FORMAT = 2
_BATCH = 8
_JITTER = 0.06


@dataclass(frozen=True)
class GateTable:
    """A row a prompt. `owner` is the column whose expert it is for, `structure` a number into `names`.

    `scan` numbers the scans in the order in which they were met.
    `scores` are the Dice of every expert's answer, against the general expert's answer where nothing is
    labelled: there the mixture is meant to answer as that does. They are NaN for experts that were not asked.
    Answers and targets, averaged to few voxels, are kept where `build_table` was told to.
    """

    seen: GateInput
    owner: Int[Tensor, " n"]
    scores: Float[Tensor, "n e"]
    way: Int[Tensor, " n"]
    turn: Int[Tensor, " n"]
    region: Int[Tensor, " n"]
    structure: Int[Tensor, " n"]
    scan: Int[Tensor, " n"]
    names: tuple[str, ...]
    answers: Float[Tensor, "n e k k k"] | None = None
    targets: Float[Tensor, "n k k k"] | None = None

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def labelled(self) -> Bool[Tensor, " n"]:
        """Whether a row is about something that was labelled."""
        known = torch.tensor([name != UNLABELLED for name in self.names], dtype=torch.bool)
        return known[self.structure]

    def rows(self, wanted: Tensor) -> "GateTable":
        """The rows with these numbers, or where a mask is true."""
        parts = {k: None if v is None else v[wanted] for k, v in self._tensors().items()}
        return _table(parts, self.names)

    def _tensors(self) -> dict[str, Tensor | None]:
        own = ("owner", "scores", "way", "turn", "region", "structure", "scan", "answers", "targets")
        return {**self.seen._asdict(), **{name: getattr(self, name) for name in own}}


class Panel:
    """Experts around one owner: those asked all hear a prompt, the owner's answer goes on (`Answering`)."""

    def __init__(self, model: SamMed3D, experts: Sequence[MaskDecoder], owner: int, asked: Sequence[int]):
        self.model, self.experts, self.owner, self.asked = model, experts, owner, tuple(asked)
        self.heard: list[tuple[GateInput, Tensor]] = []

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
        """The owner's answer; `heard` keeps what the gate sees and all answers, NaN of who was not asked."""
        dense_map = self.model.prompt_encoder.dense_map()
        low = self.model.sizes.low_res
        answers = embedding.new_full((len(embedding), len(self.experts), low, low, low), torch.nan)
        for index in self.asked:
            said = self.experts[index](embedding, dense_map, tokens.sparse, tokens.dense)
            answers[:, index] = said.logits[:, 0]
        self.heard.append((gate_input(embedding, tokens.sparse, tokens.places), answers))
        return answers[:, self.owner, None].clone()


@torch.no_grad()
def build_table(
    model: SamMed3D,
    experts: Sequence[MaskDecoder],
    box_strategy: BoxStrategy,
    drawn: Iterable[Drawn],
    seed: int,
    scored: bool = True,
    keep: int | None = None,
    turns: int = ROUNDS,
    report: Callable[[int], None] | None = None,
) -> GateTable:
    """Ask each region the way that it was drawn for, then correct, and write down what was seen.

    `experts` in the order of the gate's columns, the general one first. Boxes are lowered by `box_strategy`,
    as prediction lowers them. Corrections answer the owner's errors. Without `scored` the owner alone is
    asked; `keep` is the edge in voxels to which answers and targets are averaged and kept. `report` hears how
    many regions are done.
    """
    rng = torch.Generator().manual_seed(seed)
    names: dict[str, int] = {}
    cases: dict[str, int] = {}
    found: list[dict[str, Tensor]] = []
    done = 0
    for batch in _batches(drawn):
        owner, blank, way = batch[0].owner, batch[0].structure == UNLABELLED, batch[0].way
        asked = sorted({0, owner}) if blank else [owner]
        panel = Panel(model, experts, owner, range(len(experts)) if scored or keep else asked)
        image, target = torch.stack([d.image for d in batch]), torch.stack([d.target for d in batch])
        talk = _begun(panel, model.encode(image), target, rng, way, box_strategy)
        for turn in range(turns):
            answer = talk.ask()
            if turn + 1 < turns:
                talk.correct(answer)
        numbers = torch.tensor([names.setdefault(d.structure, len(names)) for d in batch])
        scans = torch.tensor([cases.setdefault(d.case, len(cases)) for d in batch])
        for turn, (seen, answers) in enumerate(panel.heard):
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
    return _table({key: torch.cat([rows[key] for rows in found]) for key in found[0]}, tuple(names))


def _begun(
    panel: Panel,
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
        return Conversation(panel, embedding, target, rng, {}, _JITTER, Clicked(every, middle))
    return Conversation(panel, embedding, target, rng, {box_strategy: every}, _JITTER, Clicked(none))


def low_dice(answers: Float[Tensor, "b e l l l"], soft: Float[Tensor, "b l l l"]) -> Float[Tensor, "b e"]:
    """Dice of answers at their own resolution, each voxel of the target counting by its share; NaN stays.

    1 where both are empty.
    """
    silent = answers.flatten(2).isnan().any(dim=2)
    inside = (answers > 0).flatten(2).float()
    wanted = soft.flatten(1)
    overlap = torch.einsum("bev,bv->be", inside, wanted)
    both = inside.sum(dim=2) + wanted.sum(dim=1, keepdim=True)
    dice = (2 * overlap / both.clamp(min=1e-6)).where(both > 0, 1.0)
    return dice.masked_fill(silent, torch.nan)


def save_table(table: GateTable, path: Path, origin: str) -> None:
    """Write a table as one safetensors file, whole or not at all; `origin` is all that it depends on."""
    tensors = {k: v.contiguous() for k, v in table._tensors().items() if v is not None}
    about = json.dumps({"format": FORMAT, "origin": origin, "names": table.names})
    with replacing(path, (SafetensorError,)) as new:
        save_file(tensors, new, metadata={"gate": about})


def load_table(path: Path, origin: str | None = None) -> GateTable | None:
    """Read a table, or None where there is none of this `origin`, any origin being as good as any for None.

    Raises:
        ConfigError: for a file that is not a table.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("gate", "{}"))
            if about.get("format") != FORMAT or origin not in (None, about["origin"]):
                return None
            return _table({k: file.get_tensor(k) for k in file.keys()}, tuple(about["names"]))  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(
            f"{path}: not readable as a gate's table ({error}). Delete it, to build it again."
        ) from error


def _table(parts: dict[str, Tensor] | dict[str, Tensor | None], names: tuple[str, ...]) -> GateTable:
    rest: dict[str, Tensor | None] = dict(parts)
    seen = [rest.pop(part) for part in GateInput._fields]
    return GateTable(GateInput(*seen), **rest, names=names)  # type: ignore[arg-type]


def _batches(drawn: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    """At most `_BATCH` in a row of one owner and way, places that nobody labelled by themselves."""
    for _, group in groupby(drawn, key=lambda d: (d.owner, d.structure == UNLABELLED, d.way)):
        batch: list[Drawn] = []
        for one in group:
            batch.append(one)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
