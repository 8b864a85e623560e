"""From a card to an automatic model."""

from dataclasses import dataclass
from pathlib import Path

from sam_moe.errors import CardError, WeightsError
from sam_moe.processes import choose_device
from sam_moe.registry import AutomaticCard, Card, Entry
from sam_moe.registry.folder import check_weights
from sam_moe.systems.m4oe.automatic import AutomaticM4oE
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.references import of_weights
from sam_moe.weights.files import read_state

_REFERENCE = "reference."


@dataclass(frozen=True)
class LoadedAutomatic:
    """A network that segments without a prompt, and its card."""

    network: AutomaticM4oE
    card: AutomaticCard


def load(
    entry: Entry[Card], folder: Path | str | None, device: str, box_strategy: str | None
) -> LoadedAutomatic:
    """Load what a card describes; arguments and errors are those of `sam_moe.load`.

    Raises:
        CardError: for another kind of card, or a box strategy, which no automatic model has.
    """
    card = entry.card
    if not isinstance(card, AutomaticCard):
        raise CardError(f"{entry.path}: kind: {card.kind!r} is none of M4oE's; expected 'automatic'.")
    if box_strategy is not None:
        raise CardError(f"{card.id} takes no boxes, so no box strategy either. Leave it out.")
    path = entry.path.parent / card.weights.file
    check_weights(path, card.weights, entry.path)
    state = read_state(path)
    references = {each.id: found for each in card.sets if (found := of_weights(state, each.id)) is not None}
    module = module_of(card)
    weights = {name: tensor for name, tensor in state.items() if not name.startswith(_REFERENCE)}
    own = module.state_dict()
    if wrong := sorted(weights.keys() ^ own.keys()) or [
        name for name, tensor in weights.items() if tensor.shape != own[name].shape
    ]:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors do not fit the card's architecture, such as {wrong[0]}. Expected "
            "the file that the card was written with; restore one of the two."
        )
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return LoadedAutomatic(AutomaticM4oE(module.to(choose_device(device)), card.sets, references), card)


def module_of(card: AutomaticCard) -> M4oE:
    """The network that a card describes, with initial weights."""
    owners = tuple(card.mixture.experts.index(each.expert) for each in card.sets)
    return M4oE(card.architecture, card.mixture, owners)
