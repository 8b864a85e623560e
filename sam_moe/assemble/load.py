"""`sam_moe.load`: the id of a card in, a model out whose `open` begins a session on a scan."""

from pathlib import Path

from sam_moe.predict.model import Model
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry.finding import DEFAULT_MODEL, find_model
from sam_moe.systems.sam_med3d_moe import load as sam_med3d_moe


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
    entry = find_model(DEFAULT_MODEL if model_id is None else model_id, folder)
    return sam_med3d_moe.load(
        entry, folder=folder, device=device, box_strategy=box_strategy, dtype=dtype, lowering=lowering
    )
