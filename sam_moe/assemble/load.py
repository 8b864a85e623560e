"""`sam_moe.load`: the id of a card in, a model out whose `open` begins a session on a scan."""

from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, overload, runtime_checkable

import torch

from sam_moe.errors import ConfigError
from sam_moe.predict.answering import Promptable
from sam_moe.predict.automatic.asking import Automatic
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.model import Model
from sam_moe.processes import choose_device
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import AutomaticCard, Card, Entry, Preprocessing
from sam_moe.registry.finding import DEFAULT_AUTOMATIC, DEFAULT_MODEL, NAMES, as_automatic, find_model
from sam_moe.registry.system import DEFAULT_SYSTEM, SYSTEMS

# Ids by which a type checker knows automatic models; any other text is of a model that answers prompts.
ShippedAutomatic = Literal["auto-small", "m4oe-small"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@runtime_checkable
class Loaded(Protocol):
    """What a paper makes of a card: a network that answers prompts, and how regions are cut for it."""

    @property
    def network(self) -> Promptable:
        """The frozen network, on its device."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How regions are cut, from the backbone's card."""


@runtime_checkable
class LoadedSegmenter(Protocol):
    """What a paper makes of an automatic model's card: a network that answers slices."""

    @property
    def network(self) -> Automatic:
        """The frozen network, on its device."""


@runtime_checkable
class Loading(Protocol):
    """A paper's `load`."""

    def __call__(
        self, entry: Entry[Card], folder: Path | str | None, device: str, box_strategy: str | None
    ) -> Loaded | LoadedSegmenter:
        """Load what a card describes, as its kind demands; arguments and errors are those of `load`."""


# Text that is known only at run time may be one of these ids: what that loads, `load` checks, not its type.
@overload
def load(  # type: ignore[overload-overlap]
    model_id: ShippedAutomatic, *, folder: Path | str | None = None, device: str = "auto"
) -> AutomaticModel: ...


@overload
def load(
    model_id: str | Path | None = None,
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    box_strategy: str | None = None,
    dtype: str = "float32",
    lowering: Lowering | None = None,
) -> Model: ...


def load(
    model_id: str | Path | None = None,
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    box_strategy: str | None = None,
    dtype: str = "float32",
    lowering: Lowering | None = None,
) -> Model | AutomaticModel:
    """Load a model: a general one, a mixture by its gate, one expert alone, or an automatic one.

    The model is immutable, and threads can share it; `model.open(scan)` begins a session on one scan, as many
    at a time as are wanted: `predict(...)` answers points and boxes, an automatic model's `segment()` labels
    what it knows. The first use of a public model fetches and converts it; later ones need no network.

    A type checker takes the automatic models that ship for `AutomaticModel`, by their ids, and all else for
    `Model`; `load_automatic` is for automatic models of your own.

    Args:
        model_id: id of a card, or the path of a card or of its folder; by default the small one that ships.
        folder: where to look the id up, instead of the shipped cards and those in the user's folder.
        device: "auto" takes a CUDA device where there is one; else what torch calls it.
        box_strategy: how a box is lowered; by default what the backbone's card says.
        lowering: how flat boxes, strokes and loops are lowered to points and boxes; by default as measured.
        dtype: of the encoder's products: "bfloat16" is quicker where the machine has matrix units for it, and
            much slower where it has not; clicks are answered in float32 always.

    Raises:
        CardError: for an unknown id, the known ones listed, a bad card, or a part that is missing.
        WeightsError: for weights that are not what the card says, or cannot be fetched.
        ConfigError: for an unknown dtype or box strategy, one that the weights cannot do, a device that this
            machine has not, or a setting of prompts where the model takes none.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown. Known: {', '.join(_DTYPES)}.")
    entry = find_model(DEFAULT_MODEL if model_id is None else model_id, folder)
    if isinstance(entry.card, AutomaticCard):
        given = {"box_strategy": box_strategy, "lowering": lowering, "dtype": dtype != "float32" or None}
        if unused := [name for name, value in given.items() if value is not None]:
            raise ConfigError(
                f"{', '.join(unused)}: for models that answer prompts, and {entry.card.id!r} is "
                f"{NAMES[entry.card.kind]}. Leave it out."
            )
        return _automatic(Entry(entry.card, entry.path), folder, device)
    loaded = loading(entry.card.system or DEFAULT_SYSTEM)(entry, folder, device, box_strategy)
    assert isinstance(loaded, Loaded)  # as the card's kind demands
    return Model(
        loaded.network,
        loaded.preprocessing,
        entry.card.id,
        card=entry.card,
        lowering=lowering or Lowering(),
        device=choose_device(device),
        dtype=_DTYPES[dtype],
    )


def load_automatic(
    model_id: str | Path = DEFAULT_AUTOMATIC, *, folder: Path | str | None = None, device: str = "auto"
) -> AutomaticModel:
    """Load an automatic model, by default the small one that ships; `open(scan).segment()` labels a scan.

    Arguments and errors are those of `load`.

    Raises:
        CardError: for a model that answers prompts, too.
    """
    return _automatic(as_automatic(find_model(model_id, folder, (AutomaticCard,))), folder, device)


def _automatic(entry: Entry[AutomaticCard], folder: Path | str | None, device: str) -> AutomaticModel:
    loaded = loading(entry.card.system)(entry, folder, device, None)
    assert isinstance(loaded, LoadedSegmenter)  # as the card's kind demands
    return AutomaticModel(loaded.network, entry.card, entry.card.id, choose_device(device))


def loading(system: str) -> Loading:
    """The `load` of a paper, which is imported now and not before.

    Raises:
        ConfigError: for a paper whose extra is not installed, with the command that installs it.
    """
    if SYSTEMS.check(system) not in SYSTEMS.own:
        others: Loading = SYSTEMS.load(system)
        return others
    found: Loading = imported(system, "load").load
    return found


def imported(system: str, module: str) -> Any:
    """A module of a paper of ours, which is imported now and not before.

    Raises:
        ConfigError: for a paper whose extra is not installed, with the command that installs it.
    """
    try:
        return import_module(f"{SYSTEMS.room}.{system}.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "sam_moe":
            raise
        extra = system.replace("_", "")
        raise ConfigError(
            f"models of {system} need {error.name}, which is not installed. Run: pip install "
            f"'sam-moe[{extra}]'"
        ) from error
