"""What must not learn, checked by checksums of all its tensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from sam_moe.errors import SamMoeError
from sam_moe.weights.checksums import fingerprint


@contextmanager
def unchanged(frozen: Mapping[str, nn.Module], learner: str) -> Iterator[None]:
    """Check by the SHA-256 of their tensors that these modules stay as they are while `learner` is trained.

    Raises:
        SamMoeError: naming those of which a bit changed.
    """
    before = {name: fingerprint(module) for name, module in frozen.items()}
    yield
    if moved := [name for name, module in frozen.items() if fingerprint(module) != before[name]]:
        raise SamMoeError(
            f"{', '.join(moved)} changed while {learner} was trained, though only {learner} may. Nothing was "
            "written; this is a fault of sam-moe, please report it."
        )
