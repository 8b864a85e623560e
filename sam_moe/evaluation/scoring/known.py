"""Known and unknown volumes: of a label map that cannot be read the target's size is unknown."""

from collections.abc import Iterable, Sequence

from sam_moe.errors import ConfigError
from sam_moe.evaluation.results import Row

_ALIKE_ML = 1e-6
_NAMED = 3


def ml_words(volume: float | None) -> str:
    """A volume for a person.

    >>> ml_words(None)
    'an unknown volume'
    """
    return "an unknown volume" if volume is None else f"{volume:g} ml"


def same_volume(one: float | None, other: float | None) -> bool:
    """Whether two volumes are equal to a millionth; an unknown one is like another unknown one alone."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _ALIKE_ML * max(1.0, one)


def check_known(rows: Iterable[Row], metrics: Sequence[str]) -> None:
    """Refuse to compare by a metric that is unknown for some targets.

    Raises:
        ConfigError: naming the metric and the targets.
    """
    rows = list(rows)
    for name in metrics:
        unknown = dict.fromkeys(f"{row.label} in {row.case}" for row in rows if getattr(row, name) is None)
        if unknown:
            raise ConfigError(
                f"{name} is unknown for {len(unknown)} targets, whose label maps could not be read, such as "
                f"{', '.join([*unknown][:_NAMED])}. Mend them and evaluate again, or compare by other "
                "metrics (--metric)."
            )
