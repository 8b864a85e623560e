"""A box in the words that weights understand."""

import pytest
import torch

from sam_moe.hosts.sam3d.lowering import DRAWN_LOGIT, draw_box, lower_box


@pytest.mark.parametrize(
    ("strategy", "given"),
    [("corners", {"boxes"}), ("center", {"points", "labels"}), ("mask", {"points", "labels", "mask"})],
)
def test_each_strategy_says_only_what_its_name_promises(strategy, given):
    lowered = lower_box(torch.tensor([[[4.0, 6.0, 8.0], [12.0, 16.0, 24.0]]]), strategy, 32, 16)
    assert {name for name, value in lowered._asdict().items() if value is not None} == given


def test_corners_are_the_centres_of_the_first_and_last_voxel_and_center_lies_between():
    voxels = torch.tensor([[[4.0, 6.0, 8.0], [12.0, 16.0, 24.0]]])
    assert lower_box(voxels, "corners", 32, 16).boxes.tolist() == [[[4, 6, 8], [11, 15, 23]]]
    assert lower_box(voxels, "center", 32, 16).points.tolist() == [[[7.5, 10.5, 15.5]]]


def test_a_drawn_box_is_positive_inside_negative_outside_and_between_where_a_voxel_is_halved():
    drawn = draw_box(torch.tensor([[[4.0, 6.0, 8.0], [12.0, 16.0, 25.0]]]), 32, 16)[0, 0]
    assert drawn[2, 3, 4] == DRAWN_LOGIT and drawn[1, 3, 4] == -DRAWN_LOGIT
    assert drawn[5, 7, 12] == 0  # k: voxels 24 and 25, of which the box holds one
    assert (drawn == DRAWN_LOGIT).sum() == 4 * 5 * 8
