"""Experts come and go: checked against their base, added in one step, removed and put back."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from sam_moe.errors import CardError, WeightsError
from sam_moe.files import check_writable, sha256_of, sweep
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import CARD, Draft, Entry, ExpertCard, check_weights, most_restrictive, read_draft
from sam_moe.registry.finding import expert_at, find_expert, holder_of, user_folder
from sam_moe.registry.removal import was_removed
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase, load_base
from sam_moe.systems.sam_med3d_moe.cards.expert_weights import take
from sam_moe.systems.sam_med3d_moe.cards.keeping import record_of, refuse, same_weights, write_expert
from sam_moe.systems.sam_med3d_moe.experts import KINDS, Converted, asked, kind_of, load_kind
from sam_moe.weights.files import read_metadata, read_state


@dataclass(frozen=True)
class Checked:
    """An expert that fits its base."""

    entry: Entry[ExpertCard]
    numbers: int
    licence: str

    def __str__(self) -> str:
        card = self.entry.card
        return (
            f"{card.id}: {card.expert_kind} on {card.base.id}; {self.numbers:,} finite numbers "
            f"in {card.weights.dtype}, {card.weights.size_bytes / 1e6:.1f} MB; "
            f"with its base under {self.licence}"
        )


@dataclass(frozen=True)
class KeptExpert:
    """An expert in its folder, checked; whether it came there just now; and the backbone it grew on."""

    checked: Checked
    base: LoadedBase
    new: bool


def add_expert(
    source: Path | str,
    card: Path | str | None = None,
    folder: Path | str | None = None,
    base: SamMed3D | None = None,
) -> Entry[ExpertCard]:
    """Put an expert into a folder of cards: converted, checked against its base, in one step.

    Args:
        source: a checkpoint of a decoder or of a whole finetuned model, the folder of a finished expert, or
            that of an adapter on the decoder as PEFT writes it (`adapter_config.json`).
        card: its card; checksums, expert_kind and architecture may be missing. Else the one in `source`.
        folder: a folder of cards; by default the user's own.
        base: the backbone that the card names, where the caller has loaded it.

    Raises:
        CardError: for a bad card, another base than the card's, an id already taken.
        WeightsError: for weights that do not fit the base or are not finite.
        FileError: where the folder cannot be written; nothing is left behind.
    """
    _prepare(folder)
    incoming = _incoming(Path(source), card)
    return _place(incoming, load_base(incoming.draft.base_id, base), folder)[0].entry


def keep_expert(
    source: Path | str,
    card: Path | str | None = None,
    folder: Path | str | None = None,
    again: bool = False,
) -> KeptExpert:
    """Do as `add_expert` and check what is there then; the backbone is loaded and fingerprinted once.

    With `again` an expert of the same id and weights that is here already is no error, but taken as it is;
    `source` may then be its id alone.

    Raises:
        SamMoeError: as `add_expert` and `check_expert`.
    """
    if again and card is None and not Path(source).exists():
        known = find_expert(str(source))
        base = load_base(known.card.base.id)
        return KeptExpert(_checked(known, base), base, new=False)
    _prepare(folder)
    incoming = _incoming(Path(source), card)
    base = load_base(incoming.draft.base_id)
    checked, new = _place(incoming, base, folder, again)
    return KeptExpert(checked, base, new)


def check_expert(entry: Entry[ExpertCard], base: SamMed3D | None = None) -> Checked:
    """See that an expert is what its card says and fits the backbone that the card names.

    Raises:
        CardError: for another base than the card's, or another kind of expert.
        WeightsError: for files that are not the card's, do not fit the base or are not finite.
    """
    return _checked(entry, load_base(entry.card.base.id, base))


@dataclass(frozen=True)
class _Incoming:
    """What somebody hands in: its card as far as it goes, its file of weights, and where that is from."""

    source: Path
    draft: Draft
    weights: Path
    origin: str
    converted: Converted | None = None


def _incoming(source: Path, card: Path | str | None) -> _Incoming:
    for kind in map(load_kind, asked()):
        if (found := kind.reads(source, card)) is not None:
            return _Incoming(
                found.file.parent, found.draft, found.file, sha256_of(found.file, WeightsError), found
            )
    if source.is_dir():
        finished = expert_at(source / CARD)
        weights = source / finished.card.weights.file
        check_weights(weights, finished.card.weights, finished.path)
        origin = read_metadata(weights).get("source_sha256", finished.card.weights.sha256)
        return _Incoming(source, read_draft(card or source / CARD), weights, origin)
    if card is None and not source.exists():
        raise CardError(f"{source}: no such file or folder. Check the path.")
    if card is None:
        raise CardError(f"{source}: has no card. Give one with the expert's id, base, covers and licence.")
    return _Incoming(source, read_draft(card), source, sha256_of(source, WeightsError))


def _prepare(folder: Path | str | None) -> None:
    """See that experts can be written, before the work, and clear what killed processes left behind."""
    folder = user_folder() if folder is None else Path(folder)
    check_writable(folder)
    sweep(folder)


def _place(
    incoming: _Incoming, base: LoadedBase, folder: Path | str | None, again: bool = False
) -> tuple[Checked, bool]:
    """Write an expert, and whether that was needed: with `again` one that is here already may stay."""
    folder, draft = user_folder() if folder is None else Path(folder), incoming.draft
    _check_base(draft, base.sha256)
    state = incoming.converted.state if incoming.converted else read_state(incoming.weights)
    taken = take(state, base.model, str(incoming.weights), _with_settings(draft), _named(draft))
    holder = holder_of(str(draft.fields.get("id")), folder) if again else None
    if holder is not None and isinstance(holder.card, ExpertCard):
        known = Entry(holder.card, holder.path)
        if not same_weights(known, taken.state):
            raise refuse(known.card.id, holder, taken.state, str(draft.path))
        return _checked(known, base), False
    found: list[Checked] = []
    placed = write_expert(
        draft, taken, base.sha256, incoming.origin, folder, lambda new: found.append(_checked(new, base))
    )
    if was_removed(incoming.source, folder):
        shutil.rmtree(incoming.source)  # it is back in its place
    return replace(found[0], entry=placed), True


def _checked(entry: Entry[ExpertCard], base: LoadedBase) -> Checked:
    card = entry.card
    for file in (card.weights, card.feature_bank):
        if file is not None:
            check_weights(entry.folder / file.file, file, entry.path)
    _check_base(read_draft(entry.path), base.sha256)
    taken = take(read_state(entry.folder / card.weights.file), base.model, str(entry.path), card)
    if taken.kind != card.expert_kind:
        raise CardError(
            f"{entry.path}: expert_kind: is {card.expert_kind!r}, and the weights are a {taken.kind}."
        )
    kind_of(card).check(card, taken.state, str(entry.path))
    numbers = sum(tensor.numel() for tensor in taken.state.values())
    return Checked(entry, numbers, most_restrictive([card.licence, base.entry.card.licence]))


def load_expert(entry: Entry[ExpertCard], base: SamMed3D) -> MaskDecoder | SamMed3D:
    """The frozen expert: a decoder for the base's embeddings, or a model with its own encoder.

    Raises:
        WeightsError: for a file that is not the card's or does not fit the base.
    """
    path = entry.folder / entry.card.weights.file
    check_weights(path, entry.card.weights, entry.path)
    return kind_of(entry.card).build(read_state(path), base, entry.card, str(path))


def load_decoder(entry: Entry[ExpertCard], base: SamMed3D) -> MaskDecoder:
    """The frozen decoder of an expert; deltas are merged into a copy of the base's.

    Raises:
        CardError: for an expert with its own encoder, which is more than a decoder.
        WeightsError: for a file that is not the card's or does not fit the base.
    """
    expert = load_expert(entry, base)
    if isinstance(expert, SamMed3D):
        raise CardError(
            f"{entry.path}: holds a whole model with its own encoder, not a decoder for this base."
        )
    return expert


def _check_base(draft: Draft, sha256: str) -> None:
    if draft.base_sha256 not in (None, sha256):
        raise CardError(
            f"{draft.path}: base.sha256: is {draft.base_sha256}, and {draft.base_id} has {sha256}: the "
            "expert grew on other weights and would answer nonsense on these. Name the backbone it was made "
            "from."
        )


def _named(draft: Draft) -> str | None:
    """The kind that a draft names, if it is one."""
    named = draft.fields.get("expert_kind")
    return named if isinstance(named, str) and named in KINDS.names else None


def _with_settings(draft: Draft) -> ExpertCard | None:
    """A draft as a card, of a kind whose tensors alone do not show what they are; else None."""
    named = _named(draft)
    if named is None or load_kind(named).shows:
        return None
    dummy = {"weights": record_of("x", "0" * 64, 1, "float32"), "base": {"sha256": "0" * 64}}
    return draft.finished(dummy)
