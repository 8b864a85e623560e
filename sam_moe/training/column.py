"""A gate grows by a column: fitted on a few prompts, the old columns untouched, old routing kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from sam_moe.assemble.backbone import check_file, find_card, find_entry, load_backbone
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.experts import load_decoder
from sam_moe.assemble.mixture import load_gate
from sam_moe.config import explain
from sam_moe.errors import CardError, ConfigError, FileError
from sam_moe.moe.gate import GateInput, GatingNetwork, check_lightweight
from sam_moe.moe.selection import Argmax, SelectionRule, Threshold, confidence_of
from sam_moe.registry import (
    CARD,
    Entry,
    ExpertCard,
    ExpertRef,
    GateCard,
    default_folder,
    write_card,
)
from sam_moe.sam3d.weights import fingerprint, save_weights
from sam_moe.shapes import Float, Int
from sam_moe.training.examples import read_examples
from sam_moe.training.gate_card import BANK, bank_of, load_banks, save_banks, weights_of
from sam_moe.training.gate_regions import Stream, draw_regions
from sam_moe.training.gate_table import build_table

# Share of the old experts' kept prompts that must go where they went.
LEAST_KEPT = 0.99
_DECAY = 1e-3
_REGIONS = 96


@dataclass(frozen=True)
class Grown:
    """A gate with a further column, and how well old and new get along.

    `kept` is the share of the old experts' prompts that go where they went, `reached` that of the examples'
    which reach the new one; for both, its bias was `lowered`, in logits.
    """

    gate: GatingNetwork
    kept: float
    reached: float
    lowered: float

    def __str__(self) -> str:
        lowered = f" (its bias lowered by {self.lowered:.1f} for that)" if self.lowered else ""
        return (
            f"{self.reached:.0%} of the examples' prompts reach it; old routing kept {self.kept:.1%}{lowered}"
        )


def fit_column(
    gate: GatingNetwork,
    banks: Sequence[GateInput],
    examples: GateInput,
    rule: SelectionRule,
    least_kept: float = LEAST_KEPT,
) -> Grown:
    """Append a column by logistic regression of its examples against what the other experts' banks hold.

    Trunk and old columns stay to the bit: only the new weights move, in the softmax over all columns, each
    expert's prompts counting alike (ours). The new column lowers everyone's confidence, so its bias is then
    lowered until at least `least_kept` of the banks' prompts go where they went.

    Raises:
        ConfigError: where after that none of the examples reaches the new expert.
    """
    if len(banks) != gate.experts:
        raise ConfigError(f"{len(banks)} banks for {gate.experts} columns. Expected one a column, in order.")
    parts = [*banks, examples]
    seen = _joined(parts)
    owner = torch.cat([torch.full((len(p.pooled),), n) for n, p in enumerate(parts)])
    with torch.no_grad():
        hidden, old = gate.hidden(seen).double(), gate(seen)
    weight, bias = _logistic(hidden, old.double(), owner)
    old_rows = owner < gate.experts
    before = rule.select(confidence_of(old)).experts[:, 0]
    own = (hidden @ weight + bias).float()[:, None]
    for step in range(400):
        lowered = step / 10
        now = rule.select(confidence_of(torch.cat([old, own - lowered], dim=1))).experts[:, 0]
        kept = float((now == before)[old_rows].float().mean())
        if kept >= least_kept:
            break
    reached = float((now == gate.experts)[~old_rows].float().mean())
    if reached == 0 or kept < least_kept:
        there = before[~old_rows].mode().values
        raise ConfigError(
            "the gate cannot tell the examples from what its other experts answer: with the new column, "
            f"lowered until {least_kept:.0%} of old routing is kept, none of them reaches it, and most go to "
            f"column {int(there)}. Train the gate anew: sam-moe train-gate."
        )
    with torch.no_grad():
        column = gate.add_column()
        column.weight.copy_(weight)
        column.bias.copy_(bias - lowered)
    return Grown(gate, kept, reached, lowered)


def grow_gate(
    gate_entry: Entry[GateCard], expert: Entry[ExpertCard], examples: Path, to: str | None = None
) -> tuple[Grown, Path]:
    """Give a gate a column for an expert, from a few labelled cases, and return where the gate now lies.

    The gate itself is not changed: a new one is written to the user's folder, by the id `to` (its own and
    the expert's joined unless told), its card last, so that a kill leaves none. The expert's folder gets a
    bank of what the gate saw of the examples.

    Raises:
        CardError: for an expert of another backbone or one that the gate has, or an id already taken.
        ConfigError: for `to` that is no id, and examples that cannot be read or told from what others answer.
    """
    card = gate_entry.card
    renamed = _renamed(card, to or f"{card.id}-{expert.card.id}")
    base = find_entry(card.base.id)
    model = load_backbone(base).eval().requires_grad_(False)
    _check(gate_entry, expert, fingerprint(model))
    gate, banks = load_gate(gate_entry, model), _banks(gate_entry)
    scans, _ = read_examples(examples, [cover.structure for cover in expert.card.covers])
    stream = Stream(_REGIONS, 0, unlabelled_share=0.25)  # varied: they are few
    own = [{"example": ["example"]}]
    drawn = draw_regions(scans, own, frozenset(), base.card.preprocessing, stream)
    decoders = (model.mask_decoder, load_decoder(expert, model))
    strategy = base.card.default_box_strategy
    table = build_table(model, decoders, strategy, drawn, 0, scored=False, turns=2)
    kept_columns = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
    rule: SelectionRule = Argmax() if card.threshold is None else Threshold(card.threshold)
    known = [banks[ref.id] for ref in card.experts]
    # What else the examples' scans show is the general expert's: by the scan alone nothing shall be chosen.
    known[0] = _joined([known[0], table.rows(table.owner == 0).seen])
    grown = fit_column(gate, known, table.rows(table.owner == 1).seen, rule)
    check_lightweight(grown.gate, model)
    state = grown.gate.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in kept_columns.items())
    banks[expert.card.id] = bank_of(table, 1)
    _keep_bank(expert, banks[expert.card.id])
    refs = (*card.experts, ExpertRef(id=expert.card.id, sha256=expert.card.weights.sha256))
    sizes = card.architecture.model_copy(update={"columns": len(refs)})
    changes = {"experts": refs, "architecture": sizes, "measured": (), "curve": ()}
    ordered = {ref.id: banks[ref.id] for ref in refs}
    folder = user_folder() / renamed.id
    _write(folder, renamed.model_copy(update=changes), state, ordered)
    return grown, folder


def find_gate(gate: str) -> Entry[GateCard]:
    """Find a gate by id, among those that ship and the user's own, or by the path of its card or folder.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    entry = find_card(gate, offered=(GateCard,))
    if not isinstance(entry.card, GateCard):
        raise CardError(f"{entry.path}: is the card of a {entry.card.kind}, not of a gate.")
    return Entry(entry.card, entry.path)


def _joined(parts: Sequence[GateInput]) -> GateInput:
    return GateInput(*(torch.cat([getattr(p, f).float() for p in parts]) for f in GateInput._fields))


def _logistic(
    hidden: Float[Tensor, "n h"], old: Float[Tensor, "n e"], owner: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " h"], Float[Tensor, ""]]:
    """Weights and bias of the new column; convex, so that L-BFGS finds the one answer."""
    weight = torch.zeros(hidden.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    share = 1.0 / torch.bincount(owner).double()[owner]
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        logits = torch.cat([old, (hidden @ weight + bias)[:, None]], dim=1)
        loss = (F.cross_entropy(logits, owner, reduction="none") * share).sum()
        loss = loss + _DECAY * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return weight.detach(), bias.detach()


def _check(gate: Entry[GateCard], expert: Entry[ExpertCard], base_sha256: str) -> None:
    for where, found in ((gate.path, gate.card.base), (expert.path, expert.card.base)):
        if found.sha256 != base_sha256:
            raise CardError(
                f"{where}: base.sha256: is {found.sha256}, and {gate.card.base.id} has {base_sha256}. Gate "
                "and expert must have grown on the same backbone."
            )
    if expert.card.id in [ref.id for ref in gate.card.experts]:
        raise CardError(f"{gate.path}: experts: {expert.card.id!r} has a column already.")
    if expert.card.expert_kind == "full":
        raise CardError(f"{expert.path}: expert_kind: 'full' cannot be fitted; finetune the decoder alone.")


def _renamed(card: GateCard, id: str) -> GateCard:
    """The card under an id that no other card has."""
    for place in (default_folder() / id, user_folder() / id):
        if (place / CARD).exists():
            raise CardError(f"{place}: a card is there already. Choose another id for the new gate.")
    try:
        return GateCard.model_validate({**card.model_dump(), "id": id})
    except ValidationError as error:
        raise ConfigError(explain(error, GateCard, "the new gate")) from error


def _banks(entry: Entry[GateCard]) -> dict[str, GateInput]:
    """What the gate saw of its experts' prompts."""
    found = entry.card.feature_bank
    if found is None:
        raise CardError(
            f"{entry.path}: feature_bank: missing, so that old routing cannot be kept. Train the gate again "
            "with sam-moe train-gate, which writes one."
        )
    check_file(entry.folder / found.file, found, entry.path)
    banks = load_banks(entry.folder / found.file)
    if lacking := [ref.id for ref in entry.card.experts if ref.id not in banks]:
        raise CardError(
            f"{entry.folder / found.file}: holds nothing of {', '.join(lacking)}. Train it again."
        )
    return banks


def _keep_bank(expert: Entry[ExpertCard], bank: GateInput) -> None:
    """Put the bank into the expert's folder; its card names it last, so that a kill leaves the old card."""
    path = expert.folder / BANK
    save_banks({expert.card.id: bank}, path)
    write_card(expert.card.model_copy(update={"feature_bank": weights_of(path, "float16")}), expert.path)


def _write(folder: Path, card: GateCard, state: dict[str, Tensor], banks: dict[str, GateInput]) -> None:
    """Write a gate's files, then its card: without that there is no gate."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be made ({error.strerror}). Check rights.") from error
    weights, bank = folder / "model.safetensors", folder / BANK
    save_weights(state, weights)
    save_banks(banks, bank)
    named = {"weights": weights_of(weights), "feature_bank": weights_of(bank, "float16")}
    write_card(card.model_copy(update=named), folder / CARD)
