"""The targets of a case: one structure each, with its truth, as a simulated user sees it."""

from dataclasses import dataclass

import numpy as np

from sam_moe.evaluation.challenge.challenge import Case, Opened
from sam_moe.prompts.prompt import Triple
from sam_moe.prompts.simulate import Mask
from sam_moe.space.files import fingerprint


@dataclass(frozen=True)
class Target:
    """One structure of one case, with its truth.

    `scan` is the fingerprint of the scan, by which recorded prompts are found again. `ignored` is true where
    nothing was annotated: such voxels are in no truth, and in no answer that is measured. `names` are what
    the structure is made of, by the names of its own set; its label alone where it is one of them.
    """

    case: str
    label: str
    truth: Mask
    spacing_mm: Triple
    scan: str = ""
    seed: int = 0
    ignored: Mask | None = None
    names: tuple[str, ...] = ()

    def judged(self, answer: Mask) -> Mask:
        """An answer where the scan was annotated, nothing elsewhere."""
        return answer if self.ignored is None else answer & ~self.ignored

    @property
    def rng(self) -> np.random.Generator:
        """A generator that starts the same for this target, whatever else is run and in which order."""
        return np.random.default_rng([self.seed, *f"{self.case}/{self.label}".encode()])


def targets_of(case: Case, opened: Opened, seed: int = 0) -> list[Target]:
    """The targets of a case that was read, in the order of its structures."""
    scan, key = opened.scan, fingerprint(opened.scan)
    return [
        Target(
            case.id,
            label,
            np.asarray(truth.array.numpy().astype(bool)),
            scan.grid.spacing_mm,
            key,
            seed,
            opened.ignored,
            case.names.get(label, ()),
        )
        for label, truth in opened.truths.items()
    ]
