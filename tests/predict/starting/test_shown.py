"""Labels as they are shown, and masks as predictions."""

import pytest
import torch

from sam_moe.predict.prediction import LabelMap
from sam_moe.predict.starting.pieces import Piece
from sam_moe.predict.starting.shown import ShownLabel, standing_mask
from sam_moe.prompts import Box
from sam_moe.space.extents import extent
from sam_moe.space.files import read_label_map
from sam_moe.space.grid import Grid
from tests.predict.starting.bright import CRUMB, GRID, SHELL, block, map_of, turned


def label(value, name="shell"):
    return ShownLabel(name, value, "box", map_of(), extent(map_of().labels == value))


def test_a_label_is_its_voxels_and_its_box_that_of_its_largest_part():
    shell = label(2)
    assert shell.found and shell.piece().voxels == 126
    assert shell.piece().box.start == (1, 1, 1) and shell.piece().box.stop == (21, 21, 21)
    assert shell.bounds() == Box((16, 16, 16), (21, 21, 21))


def test_a_label_without_a_voxel_is_not_found_and_has_none():
    lost = label(4, "lost")
    assert not lost.found and lost.piece().voxels == 0 and lost.piece().box.empty


@pytest.mark.parametrize(
    "grid", [GRID, turned(), turned(45), Grid.around((1e3, -2e3, 7.3), GRID.shape, (0.1, 3.3, 7.7))]
)
def test_a_mask_as_a_prediction_is_the_mask_to_the_bit(grid, tmp_path):
    mask = block(SHELL, CRUMB)
    found = standing_mask(Piece.of(mask), grid, "auto")
    assert torch.equal(found.mask.bool(), mask) and found.grid is grid
    assert set(found.probability.array.unique().tolist()) == {0, 1}
    assert found.voxels == 126 and found.volume_ml == pytest.approx(126 * grid.voxel_ml)
    assert found.latency_ms == 0 and found.answered is None and str(found).startswith("126 voxels")
    assert found.explain() == "auto: 0 voxels gained, 0 lost"
    found.save(tmp_path / "mask.nii.gz")
    assert torch.equal(read_label_map(tmp_path / "mask.nii.gz").array.bool(), mask)


def test_an_empty_mask_as_a_prediction_is_empty():
    found = standing_mask(Piece.of(block()), GRID, "auto")
    assert found.voxels == 0 and not found.mask.any()


def test_masks_are_joined_as_predictions_are():
    masks = {"core": block(((2, 4), (2, 4), (2, 4))), "rim": block(((3, 6), (2, 4), (2, 4)))}
    joined = LabelMap.joined(
        {name: standing_mask(Piece.of(mask), GRID, "auto") for name, mask in masks.items()}
    )
    assert torch.equal(joined.labels == 1, masks["core"])
    assert torch.equal(joined.labels == 2, masks["rim"] & ~masks["core"])
