"""The files of one prediction: what they are called, whether they may be written, and whether they are ours.

A mask `liver.nii.gz` has `liver.run.json` beside it, and `liver.labels.json` where its targets have names.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sam_moe.errors import FileError, SamMoeError
from sam_moe.files import check_writable, shown
from sam_moe.ownership import check_not_read, check_ours, is_folder, is_same, picture, sha256_or_none
from sam_moe.predict.files.manifest import Begun, Manifest, as_text, read_record
from sam_moe.space.files import labels_beside, record_beside, suffix_of

_LONGEST = 255  # bytes in a file's name, on all file systems in use


@dataclass(frozen=True)
class Outputs:
    """Where a prediction is written."""

    mask: Path
    overlay: Path | None = None

    @property
    def record(self) -> Path:
        """The manifest."""
        return record_beside(self.mask)

    @property
    def labels(self) -> Path:
        """The names of the mask's values."""
        return labels_beside(self.mask)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.mask, self.record, self.labels, *([self.overlay] if self.overlay is not None else []))

    def check(self, scan: Path, inputs: Iterable[Path] = (), *, force: bool = False) -> tuple[str, ...]:
        """See that all can be written without a loss; returns the checksums of those that are there.

        Args:
            scan: a file, or the folder of a series.
            inputs: other files that are read; a manifest may be replaced by that of its own repetition.
            force: also replace files that are not ours. What is read is never replaced.

        Raises:
            FileError: for the first that cannot be, or is not ours.
        """
        suffix_of(self.mask)
        if self.overlay is not None and self.overlay.suffix.lower() != ".png":
            raise FileError(f"{shown(self.overlay)}: the picture is a PNG. Give it a name that ends in .png.")
        for path in self.files:
            _check_name(path)
            if _belongs_to(path, scan):
                raise FileError(
                    f"{shown(path)}: belongs to the scan, which is left as it is. Choose another place."
                )
            check_not_read(path, (source for source in inputs if not is_same(source, self.record)))
        for folder in dict.fromkeys(path.parent for path in self.files):
            if not is_folder(folder):
                raise FileError(f"{shown(folder)}: no such folder. Expected an existing one; make it first.")
            check_writable(folder)
        return self._check_ours(force)

    def _check_ours(self, force: bool) -> tuple[str, ...]:
        try:
            record = read_record(self.record) if os.path.lexists(self.record) else None
        except SamMoeError:
            record = None
            check_ours(self.record, lambda _: False, force=force)
        known = ours_in(record)
        if record is not None and record.mask != as_text(self.mask.name):
            # Two masks of one stem would share record and names: liver.nii and liver.nii.gz.
            other = self.mask.with_name(record.mask)
            if not force and os.path.lexists(other):
                raise FileError(
                    f"{shown(self.record)}: belongs to {shown(other)}, which lies beside. Expected a stem of "
                    "its own for each mask; choose another name, or take the record with --force."
                )
            known = frozenset()
        for path in (self.mask, self.labels):
            check_ours(path, lambda path: sha256_or_none(path) in known, force=force)
        if self.overlay is not None:
            check_ours(self.overlay, picture, force=force)
        return tuple(filter(None, map(sha256_or_none, (self.mask, self.labels))))


def ours_in(record: Manifest | Begun | None) -> frozenset[str]:
    """The checksums of the files that a record calls ours."""
    if isinstance(record, Begun):
        return frozenset(record.files_sha256)
    named = (record.mask_sha256, record.labels_sha256) if record is not None else ()
    return frozenset(filter(None, named))


def holds(record: Manifest, outputs: Outputs) -> bool:
    """Whether a manifest speaks of the mask, and the names, that lie beside it."""
    return (
        record.mask == as_text(outputs.mask.name)
        and record.mask_sha256 is not None
        and record.mask_sha256 == sha256_or_none(outputs.mask)
        and record.labels_sha256 == sha256_or_none(outputs.labels)
        and (record.labels_sha256 is not None or not os.path.lexists(outputs.labels))
    )


def stamp_of(scan: Path) -> str:
    """A digest of a scan's file, or of the files in its folder: names, sizes, times and places on the disk.

    It changes whenever one of them is written or replaced, and is a thousand times quicker than reading.
    """
    found = hashlib.sha256()
    try:
        for path in sorted(scan.iterdir()) if scan.is_dir() else (scan,):
            status = path.stat()
            place = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            found.update(f"{os.fsencode(path.name)!r} {place}\n".encode())
    except (OSError, ValueError):
        return ""  # reading it fails with the reason
    return found.hexdigest()


def _check_name(path: Path) -> None:
    text = os.fsencode(path.name)
    if b"\0" in text or len(text) > _LONGEST:
        raise FileError(
            f"{shown(path)}: no name for a file. Expected at most {_LONGEST} bytes, none of them 0; choose a "
            "shorter name."
        )


def _belongs_to(path: Path, scan: Path) -> bool:
    """Whether a path is the scan, or lies in the folder of its DICOM files."""
    return is_same(path, scan) or (is_folder(scan) and is_same(path.parent, scan))
