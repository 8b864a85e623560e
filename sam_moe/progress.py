"""How work reports how far it is: one kind of callback in all rooms; the caller decides where it shows."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with the name of the stage that runs and the share of it that is done, from 0 to 1."""


def silent(stage: str, share: float) -> None:
    """Progress that is shown nowhere."""
