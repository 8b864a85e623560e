"""Changes of gates for `sam-moe gates` and `experts`: a column more or less, put back; imports wait."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_moe.registry import Entry, ExpertCard
    from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase


@dataclass(frozen=True)
class Growth:
    """How a gate gets a column: the cases it is fitted on, the new gate's id, the number of regions."""

    examples: Path
    to: str | None = None
    regions: int | None = None


def grow(
    entry: "Entry[ExpertCard]",
    gate: str,
    growth: Growth,
    undo: Callable[[], object] | None = None,
    base: "LoadedBase | None" = None,
) -> tuple[str, str]:
    """Give a gate a column for an expert; what was made, in a line, and the new gate's id.

    Where that fails or is interrupted, `undo` takes back what was done for it before.
    """
    from sam_moe.registry.finding import find_gate
    from sam_moe.systems.sam_med3d_moe.grow_gate.growing import REGIONS, grow_gate

    regions = growth.regions or REGIONS
    try:
        grown, folder = grow_gate(find_gate(gate), entry, growth.examples, growth.to, base, regions)
    except BaseException:  # Ctrl-C too: when it is added again, the expert's id must be free
        if undo is not None:
            undo()
        raise
    made = f"{folder}: a gate over {grown.gate.experts} experts, {entry.card.id} the last; {grown}"
    return made, folder.name


def leave_out(expert: str, gate: str, to: str | None) -> tuple[str, str]:
    """Make a gate without an expert out of one that has it; what was made, and the new gate's id."""
    from sam_moe.registry import CARD, GateCard, read_card
    from sam_moe.registry.finding import find_gate
    from sam_moe.systems.sam_med3d_moe.grow_gate.growing import shrink_gate

    folder = shrink_gate(find_gate(gate), expert, to)
    card = read_card(folder / CARD)
    assert isinstance(card, GateCard)
    others = ", ".join(ref.id for ref in card.experts)
    return f"{folder}: a gate over {len(card.experts)} experts: {others}", folder.name


def left_behind(expert: str) -> list[str]:
    """A remark for each gate that chooses among an expert which is gone."""
    from sam_moe.registry.finding import gates_over

    return [
        f"{gate} chooses among others {expert}, and cannot be loaded without it. For one that can: sam-moe "
        f"experts remove {expert} --gate {gate}"
        for gate in gates_over(expert)
    ]


def is_gate(source: Path) -> bool:
    """Whether something is the folder of a gate."""
    from sam_moe.registry import CARD, read_card

    return (source / CARD).is_file() and read_card(source / CARD).kind == "gate"


def put_back(source: Path, folder: Path | None) -> Path:
    """Put a gate back that was removed; where it lies now."""
    from sam_moe.registry.removal import restore_gate

    return restore_gate(source, folder).folder
