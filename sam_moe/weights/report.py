"""What a checkpoint lacks, has too much of or has in another shape, and which names may have been meant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor

_SHOWN = 4


@dataclass(frozen=True)
class Misfit:
    """A tensor that is there but is not what the model takes."""

    name: str
    found: str
    expected: str


@dataclass(frozen=True)
class KeyReport:
    """The comparison of a checkpoint with a model; printed, a line a module and kind of trouble."""

    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misfits: tuple[Misfit, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every tensor is there, in shape, and no other."""
        return not (self.missing or self.unexpected or self.misfits)

    def __str__(self) -> str:
        if self.ok:
            return f"all {self.expected} tensors are there and fit"
        lines = [
            f"of {self.expected} tensors {len(self.missing)} are missing and {len(self.misfits)} do not fit; "
            f"{len(self.unexpected)} are not the model's"
        ]
        misfits = {misfit.name: misfit for misfit in self.misfits}
        kinds: tuple[tuple[str, Sequence[str], Callable[[str], str]], ...] = (
            ("missing", self.missing, lambda name: with_nearest(name, self.unexpected)),
            ("unexpected", self.unexpected, str),
            ("not fitting", tuple(misfits), lambda name: _describe(misfits[name])),
        )
        for module in sorted({name.partition(".")[0] for _, names, _ in kinds for name in names}):
            for kind, names, say in kinds:
                here = [name for name in names if name.partition(".")[0] == module]
                if here:
                    more = f" and {len(here) - _SHOWN} more" if len(here) > _SHOWN else ""
                    lines.append(f"  {module}: {kind}: {', '.join(map(say, here[:_SHOWN]))}{more}")
        return "\n".join(lines)


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> KeyReport:
    """Compare names, shapes and kinds of number; any floating-point precision fits."""
    misfits = tuple(
        Misfit(name, _kind(state[name]), _kind(tensor))
        for name, tensor in expected.items()
        if name in state and (state[name].shape != tensor.shape or not state[name].is_floating_point())
    )
    return KeyReport(
        len(expected),
        tuple(name for name in expected if name not in state),
        tuple(name for name in state if name not in expected),
        misfits,
    )


def with_nearest(name: str, found: Sequence[str]) -> str:
    """A missing name, and the one in the file that may have been meant."""
    near = get_close_matches(name, found, n=1, cutoff=0.75)
    return f"{name} (the file has {near[0]})" if near else name


def _kind(tensor: Tensor) -> str:
    return f"{'×'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"


def _describe(misfit: Misfit) -> str:
    return f"{misfit.name} is {misfit.found}, expected {misfit.expected}"
