"""Voxels of a scan kept in as few bytes as they take, and the pieces in which two masks disagree."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_moe.shapes import Bool
from sam_moe.space.connected import Voxel, parts_at
from sam_moe.space.extents import extent, union
from sam_moe.space.sampling import IndexBox

Corner = tuple[int, ...]

_NOWHERE = IndexBox((0, 0, 0), (0, 0, 0))


@dataclass(frozen=True, eq=False)
class Piece:
    """Voxels of a scan: which of those in a box of its grid. Of no voxel the box is empty.

    Attributes:
        inside: true for each voxel of the box that belongs to it.
        box: the smallest one around them, in the scan's voxels.
    """

    inside: Bool[Tensor, "i j k"]
    box: IndexBox

    @staticmethod
    def of(mask: Bool[Tensor, "i j k"], corner: Corner = (0, 0, 0)) -> "Piece":
        """The voxels of a mask whose first voxel is the scan's voxel `corner`."""
        found = extent(mask)
        if found is None:
            return Piece(torch.zeros((0, 0, 0), dtype=torch.bool), _NOWHERE)
        start, stop = (_shifted(end, corner, 1) for end in (found.start, found.stop))
        return Piece(mask[found.slices].contiguous(), IndexBox(start, stop))

    @property
    def voxels(self) -> int:
        """How many there are."""
        return int(self.inside.count_nonzero())

    def over(self, box: IndexBox) -> Bool[Tensor, "i j k"]:
        """The voxels in another box."""
        found = torch.zeros(_shape(box), dtype=torch.bool)
        start = tuple(map(max, self.box.start, box.start))
        stop = tuple(map(min, self.box.stop, box.stop))
        both = IndexBox(start, stop)
        if not both.empty:
            found[_within(both, box)] = self.inside[_within(both, self.box)]
        return found

    def toggled(self, other: "Piece") -> "Piece":
        """The voxels of one of the two alone; toggled twice by the same it is itself again."""
        box = around(self, other)
        return Piece.of(self.over(box) ^ other.over(box), box.start)


@dataclass(frozen=True)
class PackedPiece:
    """A piece in few bytes: a bit a voxel of its box, compressed."""

    bits: bytes
    box: IndexBox

    @staticmethod
    def of(piece: Piece) -> "PackedPiece":
        """A piece packed."""
        return PackedPiece(zlib.compress(np.packbits(piece.inside.numpy()).tobytes(), 1), piece.box)

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return len(self.bits)

    def unpacked(self) -> Piece:
        """The same piece, to the bit."""
        shape = _shape(self.box)
        bits = np.frombuffer(zlib.decompress(self.bits), dtype=np.uint8)
        inside = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
        return Piece(torch.from_numpy(inside), self.box)


@dataclass(frozen=True)
class Click:
    """A voxel that was clicked, and whether it belongs to the target."""

    at: Voxel
    positive: bool


@dataclass(frozen=True, eq=False)
class Disagreement:
    """What clicks change of a mask: the voxels that it gains and those that it loses."""

    gained: Piece
    lost: Piece

    @property
    def both(self) -> Piece:
        """All voxels that change."""
        return self.gained.toggled(self.lost)


def disagreement(mask: Piece, answer: Piece, clicks: Sequence[Click]) -> Disagreement:
    """The pieces in which an answer disagrees with a mask and that clicks lie in (ours).

    A positive click takes the piece of the answer beyond the mask that it lies in, connected by faces; a
    negative one gives up the piece of the mask beyond the answer that it lies in. A click where the two agree
    changes nothing, and no click changes a voxel outside its piece.
    """
    box = around(mask, answer)
    held, found = mask.over(box), answer.over(box)
    by_sign = {
        positive: [_shifted(click.at, box.start, -1) for click in clicks if click.positive is positive]
        for positive in (True, False)
    }
    gained, lost = parts_at(found & ~held, by_sign[True]), parts_at(held & ~found, by_sign[False])
    return Disagreement(Piece.of(gained, box.start), Piece.of(lost, box.start))


def around(*pieces: Piece) -> IndexBox:
    """The smallest box around all voxels of some pieces; empty where they have none."""
    boxes = [piece.box for piece in pieces if not piece.box.empty]
    return union(boxes) if boxes else _NOWHERE


def _within(box: IndexBox, other: IndexBox) -> tuple[slice, ...]:
    """The slices of a box in an array of another box's voxels."""
    return IndexBox(_shifted(box.start, other.start, -1), _shifted(box.stop, other.start, -1)).slices


def _shape(box: IndexBox) -> tuple[int, int, int]:
    i, j, k = _shifted(box.stop, box.start, -1)
    return i, j, k


def _shifted(index: Corner, by: Corner, sign: int) -> tuple[int, int, int]:
    i, j, k = (a + sign * b for a, b in zip(index, by, strict=True))
    return i, j, k
