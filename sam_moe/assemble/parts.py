"""What a gate chooses among, found without loading it; torch only where two backbones have one name."""

from pathlib import Path

from sam_moe.registry import Entry, GateCard
from sam_moe.registry import mixture as registry
from sam_moe.registry.mixture import Parts


def find_parts(entry: Entry[GateCard], folder: Path | str | None = None) -> Parts:
    """Find a gate's backbone and experts; arguments and errors are those of `registry.mixture.find_parts`.

    Raises:
        WeightsError: for one of two backbones of one name whose file cannot be read.
    """
    return registry.find_parts(entry, _fingerprint, folder)


def _fingerprint(path: Path) -> str:
    from sam_moe.weights.checksums import fingerprint_of

    return fingerprint_of(path)
