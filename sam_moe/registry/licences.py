"""The licence of a mixture: the most restrictive of its parts'."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Terms:
    """What a licence demands of who passes a work on; `family` is set where it wants itself kept."""

    demands: frozenset[str]
    family: str = ""


_FREE: frozenset[str] = frozenset()
_NAMED = frozenset({"BY"})
_ALIKE = frozenset({"BY", "SA"})

# From the freest to the strictest; of two with equal demands the later one is shown.
_KNOWN: dict[str, _Terms] = {
    "CC0-1.0": _Terms(_FREE),
    "Unlicense": _Terms(_FREE),
    "0BSD": _Terms(_FREE),
    "MIT": _Terms(_NAMED),
    "ISC": _Terms(_NAMED),
    "BSD-2-Clause": _Terms(_NAMED),
    "BSD-3-Clause": _Terms(_NAMED),
    "Apache-2.0": _Terms(_NAMED),
    "CC-BY-3.0": _Terms(_NAMED),
    "CC-BY-4.0": _Terms(_NAMED),
    "GPL-3.0-or-later": _Terms(_ALIKE, "GPL"),
    "GPL-3.0-only": _Terms(_ALIKE, "GPL"),
    "CC-BY-SA-3.0": _Terms(_ALIKE, "CC-BY-SA"),
    "CC-BY-SA-4.0": _Terms(_ALIKE, "CC-BY-SA"),
    "CC-BY-NC-3.0": _Terms(_NAMED | {"NC"}),
    "CC-BY-NC-4.0": _Terms(_NAMED | {"NC"}),
    "CC-BY-NC-SA-3.0": _Terms(_ALIKE | {"NC"}, "CC-BY-NC-SA"),
    "CC-BY-NC-SA-4.0": _Terms(_ALIKE | {"NC"}, "CC-BY-NC-SA"),
    "CC-BY-ND-4.0": _Terms(_NAMED | {"ND"}),
    "CC-BY-NC-ND-4.0": _Terms(_NAMED | {"NC", "ND"}),
}
_PLACE = {name: place for place, name in enumerate(_KNOWN)}


def most_restrictive(licences: Iterable[str]) -> str:
    """The terms that cover a mixture of works, as one SPDX identifier or several joined by AND (ours).

    A licence is left out where another one demands all that it demands (naming the source BY, share-alike SA,
    no commercial use NC, no changes ND). Two share-alike licences of different families both stay, because
    each wants its own name kept: CC-BY-SA and CC-BY-NC-SA. Licences not known here stay too, word for word.
    It is a reading aid over the parts' own licences, which go on to hold, and no legal advice.

    >>> most_restrictive(["Apache-2.0", "CC-BY-SA-4.0", "MIT"])
    'CC-BY-SA-4.0'
    >>> most_restrictive(["CC-BY-NC-4.0", "CC-BY-SA-4.0", "ask the hospital"])
    'CC-BY-SA-4.0 AND CC-BY-NC-4.0 AND ask the hospital'
    """
    parts = {part.strip() for licence in licences for part in licence.split(" AND ")} - {""}
    if not parts:
        raise ValueError("a mixture has at least one part, and each part a licence")
    known = sorted(parts & _KNOWN.keys(), key=_PLACE.__getitem__)
    kept = [name for name in known if not any(_covers(other, name) for other in known)]
    return " AND ".join([*kept, *sorted(parts - _KNOWN.keys())])


def _covers(other: str, name: str) -> bool:
    """Whether who obeys `other` obeys `name` too, and `other` is to be shown instead."""
    strict, mild = _KNOWN[other], _KNOWN[name]
    if mild.family and mild.family != strict.family:
        return False
    return strict.demands >= mild.demands and _PLACE[other] > _PLACE[name]
