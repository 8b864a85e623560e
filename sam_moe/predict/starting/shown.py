"""A label of a map as it is shown first, and masks as predictions: nothing answered yet, nothing replaced."""

from dataclasses import dataclass, field

from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.predict.starting.pieces import Piece
from sam_moe.prompts.items import Box
from sam_moe.prompts.prompt import Prompt
from sam_moe.registry import Refine
from sam_moe.space.connected import largest_part
from sam_moe.space.extents import part_of
from sam_moe.space.grid import Grid
from sam_moe.space.sampling import IndexBox
from sam_moe.space.volume import Volume


@dataclass(frozen=True, eq=False, kw_only=True)
class StandingMask(Prediction):
    """A mask that stands as it was given, or as clicks changed it, as a prediction: 1 inside, 0 outside.

    Attributes:
        gained: voxels that the last call added.
        lost: voxels that it took away.
        remark: why a call changed nothing; empty where it did, or where nothing was asked.
    """

    gained: int = 0
    lost: int = 0
    remark: str = ""

    def explain(self) -> str:
        """Whose mask it is, and what the last call changed of it."""
        if self.remark:
            return f"{self.model_id}: {self.remark}"
        return f"{self.model_id}: {self.gained:,} voxels gained, {self.lost:,} lost"


@dataclass(frozen=True, eq=False)
class ShownLabel:
    """A label of a map: where it lies, and what a promptable model may do with it.

    Attributes:
        name: of the label.
        value: in the map.
        rule: "box", the model answers the box of the mask better than the mask is; "none", it does not.
        map: where it is from.
        box: the smallest around its voxels; None where it has none.
    """

    name: str
    value: int
    rule: Refine
    map: LabelMap = field(repr=False)
    box: IndexBox | None

    @property
    def found(self) -> bool:
        """Whether it has a voxel."""
        return self.box is not None

    def piece(self) -> Piece:
        """Its voxels, taken from the map anew."""
        if self.box is None:
            return Piece.of(self.map.labels[:0, :0, :0] == self.value)
        return Piece((self.map.labels[self.box.slices] == self.value).contiguous(), self.box)

    def bounds(self) -> Box:
        """The box around its largest part, in the scan's voxels."""
        piece = self.piece()
        largest = Piece.of(largest_part(piece.inside), piece.box.start).box
        i, j, k = map(float, largest.start)
        a, b, c = map(float, largest.stop)
        return Box((i, j, k), (a, b, c))


def standing_mask(piece: Piece, grid: Grid, made_by: str) -> StandingMask:
    """A mask on a scan's grid as a prediction, equal to it to the bit."""
    box = IndexBox((0, 0, 0), (1, 1, 1)) if piece.box.empty else piece.box
    place = part_of(grid, box)
    return StandingMask(
        answer=Volume(piece.over(box), place),
        grid=grid,
        prompt=Prompt(),
        region=place,
        model_id=made_by,
        cached=True,
    )
