"""Connected parts of masks."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.space.connected import largest_part, parts_at


def drawn(*voxels: tuple[int, int, int]) -> torch.Tensor:
    mask = torch.zeros(5, 5, 5, dtype=torch.bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def test_the_largest_part_is_kept_and_corners_connect_it():
    small, large = drawn((4, 4, 4), (4, 4, 3)), drawn((0, 0, 0), (1, 1, 1), (2, 1, 1))
    assert torch.equal(largest_part(small | large), large)


def test_of_two_equal_parts_the_first_is_kept():
    assert torch.equal(largest_part(drawn((0, 0, 0), (4, 4, 4))), drawn((0, 0, 0)))


def test_an_empty_mask_has_no_part():
    assert not largest_part(drawn()).any()
    assert not parts_at(drawn(), [(1, 1, 1)]).any()


def test_a_voxel_names_the_part_that_it_lies_in_and_corners_do_not_connect():
    mask = drawn((0, 0, 0), (0, 0, 1), (1, 1, 1), (4, 4, 4))
    assert torch.equal(parts_at(mask, [(0, 0, 1)]), drawn((0, 0, 0), (0, 0, 1)))
    assert torch.equal(parts_at(mask, [(1, 1, 1), (4, 4, 4)]), drawn((1, 1, 1), (4, 4, 4)))


def test_a_voxel_beside_the_mask_or_outside_the_array_names_no_part():
    mask = drawn((0, 0, 0))
    assert not parts_at(mask, [(0, 0, 1), (-1, 0, 0), (5, 0, 0)]).any()
    assert not parts_at(mask, []).any()


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=60))
def test_the_parts_at_every_voxel_of_a_mask_are_the_mask(voxels):
    mask = drawn(*voxels)
    assert torch.equal(parts_at(mask, voxels), mask)
    kept = parts_at(mask, voxels[:1])
    assert kept[voxels[0]] and not (kept & ~mask).any()
    assert torch.equal(parts_at(kept, voxels[:1]), kept)
