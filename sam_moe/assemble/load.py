"""`sam_moe.load`: the id of a card in, a model out whose `open` begins a session on a scan."""

from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from sam_moe.errors import ConfigError
from sam_moe.predict.answering import Promptable
from sam_moe.predict.model import Model
from sam_moe.processes import choose_device
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import Card, Entry, Preprocessing
from sam_moe.registry.finding import DEFAULT_MODEL, find_model
from sam_moe.registry.system import DEFAULT_SYSTEM, SYSTEMS

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
class Loading(Protocol):
    """A paper's `load`."""

    def __call__(
        self, entry: Entry[Card], folder: Path | str | None, device: str, box_strategy: str | None
    ) -> Loaded:
        """Load what a card describes; arguments and errors are those of `load`."""


def load(
    model_id: str | Path | None = None,
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    box_strategy: str | None = None,
    dtype: str = "float32",
    lowering: Lowering | None = None,
) -> Model:
    """Load a model that answers points and boxes: a general one, a mixture by its gate, or one expert alone.

    The model is immutable, and threads can share it; `model.open(scan)` begins a session on one scan, as many
    at a time as are wanted. The first use of a public model fetches and converts it; later ones need no
    network.

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
        ConfigError: for an unknown dtype or box strategy, one that the weights cannot do, or a device that
            this machine has not.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown. Known: {', '.join(_DTYPES)}.")
    entry = find_model(DEFAULT_MODEL if model_id is None else model_id, folder)
    loaded = loading(entry.card.system or DEFAULT_SYSTEM)(entry, folder, device, box_strategy)
    return Model(
        loaded.network,
        loaded.preprocessing,
        entry.card.id,
        card=entry.card,
        lowering=lowering or Lowering(),
        device=choose_device(device),
        dtype=_DTYPES[dtype],
    )


def loading(system: str) -> Loading:
    """The `load` of a paper, which is imported now and not before.

    Raises:
        ConfigError: for a paper whose extra is not installed, with the command that installs it.
    """
    if SYSTEMS.check(system) not in SYSTEMS.own:
        others: Loading = SYSTEMS.load(system)
        return others
    try:
        found: Loading = import_module(f"{SYSTEMS.room}.{system}.load").load
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "sam_moe":
            raise
        extra = system.replace("_", "")
        raise ConfigError(
            f"models of {system} need {error.name}, which is not installed. Run: pip install "
            f"'sam-moe[{extra}]'"
        ) from error
    return found
