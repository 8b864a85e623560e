"""The simulated user in tensors, held against NumPy's boxes and the meaning of a correction."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.training.scans.prompting import boxes_around, click_inside, correcting_clicks

SEEDS = st.integers(0, 10_000)


def masks(seed, batch=3, size=8, share=0.02):
    """Random masks, each with at least one voxel."""
    rng = torch.Generator().manual_seed(seed)
    found = torch.rand(batch, size, size, size, generator=rng) < share
    found.view(batch, -1)[torch.arange(batch), torch.randint(size**3, (batch,), generator=rng)] = True
    return found


@given(SEEDS)
def test_without_jitter_a_box_is_numpys_bounding_box_half_open(seed):
    target = masks(seed, share=0.003)
    boxes = boxes_around(target, 0.0, torch.Generator())
    for mask, (start, stop) in zip(target.numpy(), boxes.tolist(), strict=True):
        index = np.argwhere(mask)
        assert start == index.min(axis=0).tolist() and stop == (index.max(axis=0) + 1).tolist()


@given(SEEDS, st.floats(0, 0.5))
def test_jitter_moves_each_face_by_no_more_than_its_share_of_the_edge(seed, jitter):
    target = masks(seed, share=0.003)
    plain = boxes_around(target, 0.0, torch.Generator())
    moved = boxes_around(target, jitter, torch.Generator().manual_seed(seed))
    edge = plain[:, 1] - plain[:, 0]
    # a box never gets thinner than a voxel, which may push its far face out
    assert ((moved - plain).abs() <= (jitter * edge)[:, None] + 1e-4).all() or (
        edge * (1 - 2 * jitter) < 1
    ).any()
    assert (moved[:, 0] >= 0).all() and (moved[:, 1] <= 8).all()
    assert (moved[:, 1] - moved[:, 0] >= 1 - 1e-5).all()


def test_jitter_moves_faces_both_ways():
    target = torch.zeros(200, 16, 16, 16, dtype=torch.bool)
    target[:, 4:12, 4:12, 4:12] = True
    moved = boxes_around(target, 0.1, torch.Generator().manual_seed(0))
    for face, plain in ((0, 4.0), (1, 12.0)):
        assert 3.2 <= moved[:, 0].min() < 3.3 if face == 0 else 12.7 < moved[:, 1].max() <= 12.8
        assert abs(moved[:, face].mean() - plain) < 0.1


@given(SEEDS, st.integers(1, 3), st.floats(0, 1))
def test_a_click_always_lies_in_its_mask(seed, depth, randomness):
    wanted = masks(seed)
    at = click_inside(wanted, depth, torch.Generator().manual_seed(seed), randomness).long()
    assert wanted[torch.arange(3), at[:, 0], at[:, 1], at[:, 2]].all()


def test_without_randomness_the_click_goes_where_most_neighbours_belong_to_the_mask():
    wanted = torch.zeros(1, 16, 16, 16, dtype=torch.bool)
    wanted[0, 2:13, 4:15, 1:12] = True  # its middle is (7, 9, 6); clicks are chosen in pairs of voxels
    wanted[0, 14:, :2, 14:] = True
    at = click_inside(wanted, 3, torch.Generator(), 0.0)[0]
    assert (at - torch.tensor([7.0, 9.0, 6.0])).abs().max() <= 2


def test_of_an_empty_mask_the_click_is_the_first_voxel():
    assert click_inside(torch.zeros(1, 8, 8, 8, dtype=torch.bool), 1, torch.Generator(), 0.5).tolist() == [
        [0, 0, 0]
    ]


@given(SEEDS)
def test_a_correction_lies_in_the_larger_error_and_says_which(seed):
    target, predicted = masks(seed, share=0.3), masks(seed + 1, share=0.3)
    logits = torch.where(predicted, 2.0, -2.0)
    at, label = correcting_clicks(logits, target, torch.Generator().manual_seed(seed))
    for n in range(3):
        missed, false = target[n] & ~predicted[n], predicted[n] & ~target[n]
        positive = bool(missed.sum() >= false.sum())
        assert label[n].item() == int(positive)
        assert (missed if positive else false)[tuple(at[n, 0].long())]


def test_missing_tissue_is_clicked_positive_and_surplus_negative():
    target = torch.zeros(2, 8, 8, 8, dtype=torch.bool)
    target[:, 2:6, 2:6, 2:6] = True
    logits = torch.full((2, 8, 8, 8), -1.0)
    logits[1] = 1.0
    at, label = correcting_clicks(logits, target, torch.Generator().manual_seed(0))
    assert label.tolist() == [[1], [0]]
    assert target[0][tuple(at[0, 0].long())] and not target[1][tuple(at[1, 0].long())]


def test_a_perfect_answer_gets_a_point_to_ignore():
    target = masks(0)
    _, label = correcting_clicks(torch.where(target, 1.0, -1.0), target, torch.Generator())
    assert label.tolist() == [[-1], [-1], [-1]]
