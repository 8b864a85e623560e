"""A model for a verb, with what the manifest wants to know about it."""

from collections.abc import Sequence

from sam_moe.assemble.load import load, load_automatic
from sam_moe.cli.options import Computing, UsageError
from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.predict.automatic.which import named
from sam_moe.predict.files.automatic import LoadedAutomaticModel
from sam_moe.predict.files.prompted import LoadedModel
from sam_moe.processes import share_threads
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import CARD, AutomaticCard, Card, Entry, PromptableCard, read_card
from sam_moe.registry.finding import (
    DEFAULT_AUTOMATIC,
    DEFAULT_MODEL,
    DEFAULT_THEN,
    PROMPTABLE,
    as_automatic,
    as_promptable,
    find_model,
    user_folder,
)

_DEFAULTS = Computing()


def loaded(model: str | None, computing: Computing = _DEFAULTS) -> LoadedModel:
    """Load a model, mixture or expert by id, card or folder, fetching a public one on first use.

    Raises:
        CardError: for an automatic model, too, naming the verb that it is for.
    """
    share_threads()
    rules = lowering_of(computing.lower or ())
    entry = as_promptable(find_model(model or DEFAULT_MODEL, wanted=PROMPTABLE))
    chosen = load(
        entry.path,
        device=computing.device,
        box_strategy=computing.box_strategy,
        dtype=computing.dtype,
        lowering=rules,
    )
    return LoadedModel(chosen, weights_sha256(entry))


def find_automatic(model: str | None, as_set: str | None) -> Entry[AutomaticCard]:
    """Find a model that segments without a prompt, by id, card or folder.

    Raises:
        CardError: for an unknown one, or one that answers prompts.
        UsageError: where it knows no data set of the name given.
    """
    entry = as_automatic(find_model(model or DEFAULT_AUTOMATIC, wanted=(AutomaticCard,)))
    if as_set is not None:
        try:
            named(entry.card.sets, as_set)
        except ConfigError as error:
            raise UsageError(f"--as: {error}") from error
    return entry


def find_then(model: str | None) -> Entry[PromptableCard]:
    """Find the model that answers the boxes of automatic masks, by id, card or folder.

    Raises:
        CardError: for an unknown one, or one that takes no prompt.
    """
    return as_promptable(find_model(model or DEFAULT_THEN, wanted=PROMPTABLE))


def loaded_automatic(
    entry: Entry[AutomaticCard], device: str, then: Entry[PromptableCard] | None = None
) -> LoadedAutomaticModel:
    """Load a model that segments without a prompt, and one that answers the boxes of its masks."""
    share_threads()
    after = None if then is None else loaded(str(then.path), Computing(device))
    return LoadedAutomaticModel(load_automatic(entry.path, device=device), weights_sha256(entry), after)


def lowering_of(given: Sequence[str]) -> Lowering:
    """The rules of `--lower KIND=RULE`, the default ones where none is given.

    Raises:
        UsageError: for an unknown kind or rule, the known ones listed.
    """
    try:
        return load_settings(Lowering, None, given)
    except ConfigError as error:
        raise UsageError(str(error).replace("--set", "--lower")) from error


def weights_sha256(entry: Entry[Card]) -> str | None:
    """The checksum of a card's weights: a gate's, which names its parts' in turn, stands for a mixture.

    Of a public model those it was converted to, None before that.
    """
    weights, kept = entry.card.weights, user_folder() / entry.card.id / CARD
    if weights is None and kept.is_file():
        weights = read_card(kept).weights
    return weights.sha256 if weights else None
