"""What every request to segment one scan has: the scan, where its labels go, and what may be replaced."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sam_moe.predict.files.manifest import Manifest
from sam_moe.predict.files.outputs import Outputs
from sam_moe.space.grid import Grid

_Own = TypeVar("_Own", bound="Request")


@dataclass(frozen=True)
class Request(ABC):
    """One scan to segment; `PromptedRequest` and `AutomaticRequest` add what is asked of it.

    With `force` files that are not ours may be replaced; `wrong` is what is known to be wrong already.
    """

    scan: Path
    out: Path
    overlay: Path | None = None
    command: tuple[str, ...] = ()
    force: bool = False
    wrong: str = ""

    @property
    def outputs(self) -> Outputs:
        """The files to write."""
        return Outputs(self.out, self.overlay)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that are read beside the scan."""
        return ()

    def check_outputs(self) -> tuple[str, ...]:
        """See that they can be written without a loss; returns the checksums of those that are replaced.

        Raises:
            FileError: as `Outputs.check`.
        """
        return self.outputs.check(self.scan, self.inputs, force=self.force)

    @abstractmethod
    def checked(self: _Own, grid: Grid) -> _Own:
        """The same request, found sound for a scan on this grid.

        Raises:
            SamMoeError: for the first thing that is wrong with what is asked.
        """

    @abstractmethod
    def remark_on(self, fingerprint: str) -> None:
        """Warn where what is asked does not belong to the scan of this fingerprint."""

    @abstractmethod
    def is_answered_by(self, record: Manifest) -> bool:
        """Whether a run record is of the same question."""


Asked = TypeVar("Asked", bound=Request)
