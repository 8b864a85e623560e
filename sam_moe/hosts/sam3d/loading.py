"""Named tensors become a frozen SAM-Med3D, or an error that says which of them do not fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.weights.files import read_state
from sam_moe.weights.report import KeyReport, compare, with_nearest


def load_model(path: Path | str, sizes: Sizes | None = None) -> SamMed3D:
    """Load a checkpoint strictly: frozen, in evaluation mode, in fp32 whatever it was stored in.

    Without `sizes` they are read off the tensors' shapes; then the decoder is taken to have 8 heads.

    Raises:
        WeightsError: for a file that is no checkpoint or whose tensors are not exactly the model's.
    """
    return build_model(read_state(path), sizes, str(path))


def build_model(
    state: Mapping[str, Tensor], sizes: Sizes | None = None, where: str = "the state"
) -> SamMed3D:
    """Build the model from tensors, which are copied; `where` names their origin in errors."""
    sizes = read_sizes(state, where) if sizes is None else sizes
    check_state(state, sizes, where)
    model = _empty(sizes, where)
    owned = {
        name: tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    model.load_state_dict(owned, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def check_state(state: Mapping[str, Tensor], sizes: Sizes, where: str = "the state") -> KeyReport:
    """Compare tensors with a model of these sizes.

    Raises:
        WeightsError: with the report, if anything is missing, unexpected or of another shape.
    """
    report = compare(state, _empty(sizes, where).state_dict())
    if not report.ok:
        raise WeightsError(f"{where}: does not fit the model: {report}")
    return report


def read_sizes(state: Mapping[str, Tensor], where: str = "the state") -> Sizes:
    """Read the sizes off a checkpoint's shapes; corner embeddings (326-key files) are seen.

    Raises:
        WeightsError: naming the tensor that is missing for that.
    """
    # The numbers in names become the length of loops: a file must have as many tensors as it says.
    layers = "mask_decoder.transformer.layers."
    indexes = {name.split(".")[3] for name in state if name.startswith(layers)}
    if indexes != {str(index) for index in range(len(indexes))}:
        raise WeightsError(
            f"{where}: the decoder's layers are numbered {', '.join(sorted(indexes))[:80]}, not 0, 1, …: "
            "some are missing, or names were changed."
        )
    try:
        return Sizes.from_state_dict(state)
    except KeyError as error:
        missing = with_nearest(str(error.args[0]), tuple(state))
        raise WeightsError(
            f"{where}: is no SAM-Med3D: {missing} is missing, and without it the sizes are unknown. Expected "
            "names as in the public checkpoint, image_encoder.… to mask_decoder.…"
        ) from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{where}: is no SAM-Med3D: no sizes can be read off its shapes ({error}). Expected names and "
            "shapes as in the public checkpoint, image_encoder.… to mask_decoder.…"
        ) from error


def _empty(sizes: Sizes, where: str) -> SamMed3D:
    """The model without memory, on the device 'meta'."""
    try:
        with torch.device("meta"):
            return SamMed3D(sizes)
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise WeightsError(f"{where}: no model can be built of {sizes} ({error}).") from error
