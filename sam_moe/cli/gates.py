"""What `sam-moe experts add --gate` does; what it needs is imported when it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_moe.registry import Entry, ExpertCard


def grow(
    entry: "Entry[ExpertCard]",
    gate: str,
    examples: Path,
    to: str | None,
    undo: Callable[[], object],
) -> str:
    """Give a gate a column for an expert just added, or take the expert out again; says what came of it."""
    from sam_moe.training.column import find_gate, grow_gate

    try:
        grown, folder = grow_gate(find_gate(gate), entry, examples, to)
    except BaseException:  # Ctrl-C too: asked again, the expert's id must be free
        undo()
        raise
    return f"{folder}: a gate over {grown.gate.experts} experts, {entry.card.id} the last; {grown}"
