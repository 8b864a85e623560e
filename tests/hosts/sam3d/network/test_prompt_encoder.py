"""What a click, an ignored click, a box and a mask become, by hand."""

from math import cos, pi, sin

import pytest
import torch

from sam_moe.hosts.sam3d.network.prompt_encoder import PromptEncoder
from sam_moe.hosts.sam3d.sizes import Sizes

SIZES = Sizes(image_size=32, patch_size=8, out_channels=6)


@pytest.fixture
def encoder(generator) -> PromptEncoder:
    encoder = PromptEncoder(Sizes(image_size=32, patch_size=8, out_channels=6, corner_embeddings=True)).eval()
    for tensor in encoder.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return encoder.requires_grad_(False)


def points(*at: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor([at], dtype=torch.float32)


def labels(*which: int) -> torch.Tensor:
    return torch.tensor([which])


def test_a_position_is_sine_cosine_and_sine_again(encoder):
    encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.tensor([[1.0, 0], [0, 1.0], [0, 0]]))
    u, v = 2 * pi * (2 * 0.25 - 1), 2 * pi * (2 * 0.9 - 1)
    expected = torch.tensor([sin(u), sin(v), cos(u), cos(v), sin(u), sin(v)])
    torch.testing.assert_close(encoder.pe_layer(torch.tensor([0.25, 0.9, 0.3])), expected, rtol=0, atol=1e-5)


def test_the_dense_map_has_its_first_two_axes_swapped(encoder):
    """Voxel (i, j, k) carries the feature of point (j, i, k), the middle of a patch of 8."""
    dense = encoder.dense_map()
    for i, j, k in [(0, 1, 2), (3, 0, 1), (2, 2, 3)]:
        centre = torch.tensor([j, i, k]) * 8.0 + 4.0
        torch.testing.assert_close(dense[0, :, i, j, k], encoder.pe_layer(centre / 32), rtol=0, atol=1e-5)
    assert not torch.allclose(dense, dense.transpose(2, 3))


def test_the_dense_map_is_computed_once(encoder):
    assert encoder.dense_map() is encoder.dense_map()


@pytest.mark.parametrize("label", [0, 1])
def test_a_click_is_its_voxels_centre_plus_its_meaning_and_one_ignored_token_follows(encoder, label):
    sparse = encoder(points((3, 4, 5)), labels(label)).sparse
    feature = encoder.pe_layer(torch.tensor([3.5, 4.5, 5.5]) / 32)
    torch.testing.assert_close(sparse[0, 0], feature + encoder.point_embeddings[label].weight[0])
    assert torch.equal(sparse[0, 1], encoder.not_a_point_embed.weight[0])
    assert sparse.shape == (1, 2, 6)


def test_an_ignored_click_says_the_same_wherever_it_is(encoder):
    sparse = encoder(points((3, 4, 5), (30, 0, 9)), labels(-1, -1)).sparse
    assert torch.equal(sparse[0], encoder.not_a_point_embed.weight.expand(3, 6))


def test_a_box_is_its_two_corners_and_no_ignored_token(encoder):
    corners = points((1, 2, 3), (20, 21, 22))
    sparse = encoder(boxes=corners).sparse
    assert sparse.shape == (1, 2, 6)
    for i in range(2):
        feature = encoder.pe_layer((corners[0, i] + 0.5) / 32)
        torch.testing.assert_close(sparse[0, i], feature + encoder.point_embeddings[2 + i].weight[0])


def test_clicks_come_before_the_box_they_are_given_with(encoder):
    click, corners = points((3, 4, 5)), points((1, 2, 3), (20, 21, 22))
    both = encoder(click, labels(1), corners).sparse
    alone = torch.cat([encoder(click, labels(1)).sparse[:, :1], encoder(boxes=corners).sparse], dim=1)
    torch.testing.assert_close(both, alone)


def test_without_clicks_and_boxes_there_are_no_tokens_and_no_mask_is_one_vector_everywhere(encoder):
    sparse, dense, _ = encoder(batch=2)
    assert sparse.shape == (2, 0, 6)
    assert torch.equal(dense, encoder.no_mask_embed.weight.view(1, 6, 1, 1, 1).expand(2, 6, 4, 4, 4))


def test_a_mask_of_four_voxels_a_token_becomes_one_dense_vector_a_token(encoder):
    mask = torch.zeros(1, 1, 16, 16, 16)
    mask[..., :4, 4:8, 12:] = 3.0
    changed = (encoder(mask=mask).dense != encoder(mask=torch.zeros_like(mask)).dense).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[0, 1, 3]]


def test_each_token_of_a_click_or_corner_has_its_place_and_others_have_none(encoder):
    """A click in voxel 3 of 32 lies at 3.5 / 32 of the edge."""
    clicks = points((3, 4, 5), (30, 0, 9))
    assert encoder(clicks, labels(0, -1)).places.isnan().all()  # a negative click is not on the target
    places = encoder(clicks, labels(1, -1)).places
    assert places[0, 0].tolist() == [3.5 / 32, 4.5 / 32, 5.5 / 32]
    assert places.shape == (1, 3, 3) and places[0, 1:].isnan().all()

    corners = points((-0.5, 7.5, 0), (15.5, 31.5, 31))
    places = encoder(clicks, labels(1, 1), corners).places
    assert places[0, 2:].tolist() == [[0, 0.25, 0.5 / 32], [0.5, 1, 31.5 / 32]]
    assert places.shape == (1, 4, 3) and places.isfinite().all()
    assert encoder(batch=2).places.shape == (2, 0, 3)


def test_weights_without_corner_embeddings_refuse_a_box():
    encoder = PromptEncoder(SIZES)
    assert not encoder.knows_boxes
    with pytest.raises(AssertionError, match="lower the box first"):
        encoder(boxes=points((1, 2, 3), (4, 5, 6)))
