"""Probabilities go home, masks do not: the labels are the argmax of every class interpolated on the scan."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.predict.automatic.segmenting import Answers, answers, restored
from sam_moe.registry import Label
from sam_moe.slices.stack import Stack, prepare
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample
from tests.predict.automatic.bands import BLOCK

SOURCE = Grid.around((0, 0, 0), (9, 8, 7), (2, 2, 3))
ALL = (Label(name="a"), Label(name="b"), Label(name="c"))


def turned(degrees, spacing=(1.1, 1.3, 2.0), shape=(17, 13, 11), shift=(0, 0, 0)):
    """A grid around the world's middle whose first two axes are turned."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = shift - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(affine, shape)


def answers_of(probabilities):
    return Answers(probabilities, SOURCE, {})


def argmax_of_all(found, onto):
    """The same by the plain way: every class on the whole scan; outside the stack is background."""
    classes = [resample(found.of(c), onto, fill=float(c == 0)).array for c in range(len(found.probabilities))]
    return torch.stack(classes).argmax(dim=0)


@given(
    seed=st.integers(0, 1000), degrees=st.sampled_from([0, 90, 180, 17, -40]), sharp=st.sampled_from([1, 6])
)
def test_labels_are_the_argmax_of_all_classes_on_the_scan(seed, degrees, sharp):
    logits = torch.randn(
        (4, *SOURCE.shape[2:], *SOURCE.shape[:2]), generator=torch.Generator().manual_seed(seed)
    )
    logits[3] -= 3  # rarely the most probable one
    found = answers_of((sharp * logits).softmax(dim=0))
    onto = turned(degrees)
    labels = restored(found, ALL, onto)
    assert labels.dtype == torch.uint8 and labels.shape == onto.shape
    assert torch.equal(labels.long(), argmax_of_all(found, onto))


def test_outside_the_stack_is_background(generator):
    found = answers_of(torch.rand((4, 7, 9, 8), generator=generator).softmax(dim=0))
    onto = turned(30, shape=(30, 30, 14))
    labels = restored(found, ALL, onto)
    assert torch.equal(labels.long(), argmax_of_all(found, onto))
    assert not labels[0].any() and not labels[-1].any() and labels.any()
    assert not restored(found, ALL, turned(0, shift=(500, 0, 0))).any()


def test_a_boundary_runs_between_coarse_voxels():
    """Of a ramp of probability along x, one half is where the line crosses, not at a voxel's border."""
    ramp = torch.linspace(1, 0, 9)[None, :, None].expand(7, 9, 8)
    fine = Grid.around((0, 0, 0), (161, 3, 3), (0.1, 1, 1))
    labels = restored(answers_of(torch.stack([1 - ramp, ramp])), ALL[:1], fine)
    # One at x = -8 mm, nothing at 8 mm: more than one half left of 0
    x = fine.world_of(np.stack(np.indices(fine.shape), axis=-1))[..., 0]
    assert np.array_equal(labels.numpy() == 1, x < -1e-6)


def test_nothing_found_is_an_empty_map():
    none = torch.zeros(4, 7, 9, 8)
    none[0] = 1
    assert not restored(answers_of(none), ALL, SOURCE).any()


def two_parts():
    """Class 1 in a large and a small block, class 2 in two as well; on the stack's own grid."""
    probabilities = torch.zeros(3, 7, 9, 8)
    probabilities[1, 1:6, 0:3, 0:3] = 1
    probabilities[1, 6:, 4:5, 4:5] = 1
    probabilities[2, 0:2, 6:8, 6:8] = 1
    probabilities[2, 4:5, 7:8, 7:8] = 1
    probabilities[0] = 1 - probabilities.sum(dim=0)
    return answers_of(probabilities)


def test_the_largest_part_is_kept_where_the_card_says_so():
    one, both = Label(name="one", parts="largest"), Label(name="both")
    labels = restored(two_parts(), (one, both), SOURCE)
    assert (labels == 1).sum() == 5 * 3 * 3 and (labels == 2).sum() == 2 * 2 * 2 + 1
    assert labels[4, 4, 6] == 0  # what is dropped is background
    labels = restored(two_parts(), (both, one), SOURCE)
    assert (labels == 1).sum() == 5 * 3 * 3 + 1 and (labels == 2).sum() == 2 * 2 * 2


def test_parts_that_touch_at_a_corner_are_one():
    probabilities = torch.zeros(2, 7, 9, 8)
    probabilities[1, 1:3, 1:3, 1:3] = 1
    probabilities[1, 3, 3, 3] = 1
    probabilities[0] = 1 - probabilities[1]
    labels = restored(answers_of(probabilities), (Label(name="a", parts="largest"),), SOURCE)
    assert labels.sum() == 9


def test_labels_are_laid_out_as_in_files():
    assert restored(two_parts(), ALL[:2], SOURCE).stride() == (1, 9, 72)


def test_chunks_give_what_the_whole_gives(network, scan):
    stack = prepare(scan, BLOCK)
    stages = []
    whole = answers(network, stack, 0, progress=lambda stage, share: stages.append((stage, share)))
    assert stages == [("segmenting", 0.0), ("segmenting", 1.0)]
    parts = answers(network, stack, 0, 5 * 42 * 39, progress=lambda _, share: stages.append(("", share)))
    assert [round(24 * share) for _, share in stages[2:]] == [0, 5, 10, 15, 20, 24]
    assert torch.equal(whole.probabilities, parts.probabilities)
    assert whole.shares == {place: pytest.approx(shares) for place, shares in parts.shares.items()}
    torch.testing.assert_close(whole.probabilities.sum(dim=0), torch.ones(24, 42, 39))


def test_the_shares_of_a_place_are_the_mean_weights_over_its_slices(network):
    """Slices of 0.2 and 0.9: the gate's logits are the slice's mean and one half."""
    array = torch.full((4, 5, 2), 0.2)
    array[:, :, 1] = 0.9
    stack = Stack(array, Grid.around((0, 0, 0), (4, 5, 2), (2, 2, 3)))
    shares = answers(network, stack, 0).shares
    first = [1 / (1 + np.exp(0.5 - mean)) for mean in (0.2, 0.9)]
    assert shares["deep"] == pytest.approx({"blocks": np.mean(first), "shades": 1 - np.mean(first)})
    assert list(shares["deep"]) == ["blocks", "shades"]  # the heaviest first
    assert shares["tokens"] == pytest.approx({"blocks": 0.5, "shades": 0.5})


def test_a_class_is_a_volume_of_the_stack():
    volume = two_parts().of(2)
    assert isinstance(volume, Volume) and volume.grid is SOURCE and volume.array[6, 7, 1] == 1
