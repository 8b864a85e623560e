"""Which paper a card belongs to, and where that paper keeps its expert kinds; nothing of it is imported."""

from typing import Annotated

from pydantic import AfterValidator, Field

from sam_moe.variants import Variants, checked

DEFAULT_SYSTEM = "sam_med3d_moe"
SYSTEMS = Variants("system", "sam_moe.systems", "sam_moe.systems")


def expert_kinds(system: str | None) -> Variants:
    """The expert kinds of a paper: the modules of its room `experts`, and those of other packages."""
    room = f"{SYSTEMS.room}.{system or DEFAULT_SYSTEM}.experts"
    return Variants("expert kind", room, "sam_moe.expert_kinds")


def check_kind(name: str, system: str | None) -> str:
    """The name of an expert kind, if the paper has it.

    Raises:
        ValueError: for another, the known ones listed, the nearest first.
    """
    return checked(expert_kinds(system), name)


SystemField = Annotated[
    str | None,
    Field(description=f"The paper that the card belongs to; {DEFAULT_SYSTEM} where it names none."),
    AfterValidator(lambda name: name if name is None else checked(SYSTEMS, name)),
]
