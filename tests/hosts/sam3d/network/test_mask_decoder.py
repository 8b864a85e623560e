"""The decoder against segment-anything's blocks and torch's transposed convolutions, weights the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.transformer import TwoWayTransformer
from sam_moe.hosts.sam3d.segment_anything import prepare
from sam_moe.hosts.sam3d.sizes import Sizes

SIZES = Sizes(image_size=32, patch_size=8, out_channels=48, decoder_mlp_dim=64, iou_hidden_dim=16)


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Every parameter drawn anew, so that nothing is zero or one by default."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def decoder() -> MaskDecoder:
    decoder = MaskDecoder(SIZES).double().eval()
    randomise(decoder)
    return decoder


def theirs_of(ours: TwoWayTransformer, dim: int, depth: int, heads: int, mlp_dim: int) -> nn.Module:
    """segment-anything's transformer with our weights: the names are the same."""
    prepare()  # it imports without torchvision from here on
    from segment_anything.modeling import TwoWayTransformer as Theirs

    theirs = Theirs(depth, dim, heads, mlp_dim).double().eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return theirs


def reference_logits(
    decoder: MaskDecoder, embedding: Tensor, dense_map: Tensor, sparse: Tensor, dense: Tensor
):
    """The decoder as the reference writes it, from segment-anything's transformer and torch's layers."""
    theirs = theirs_of(decoder.transformer, 48, 2, 8, 64)
    fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(sparse), -1, -1)
    tokens, source = theirs(
        (embedding + dense).flatten(3),
        dense_map.expand_as(embedding).flatten(3),
        torch.cat([fixed, sparse], dim=1),
    )
    up = decoder.output_upscaling(source.transpose(1, 2).reshape(embedding.shape))
    hyper = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    logits = torch.einsum("bmc,bcxyz->bmxyz", torch.stack(hyper, dim=1), up)
    return logits, decoder.iou_prediction_head(tokens[:, 0])


@pytest.mark.parametrize(("batch", "grid"), [(1, 4), (2, 3), (1, 5)])
@pytest.mark.parametrize("masks", [(0,), (0, 1, 2, 3), (3, 1)])
def test_logits_and_iou_are_the_references(decoder, batch, grid, masks):
    embedding, dense = noise(batch, 48, grid, grid, grid), noise(batch, 48, grid, grid, grid, seed=2)
    dense_map, sparse = noise(1, 48, grid, grid, grid, seed=3), noise(batch, 2, 48, seed=4)
    with torch.no_grad():
        answer = decoder(embedding, dense_map, sparse, dense, masks=masks)
        logits, iou = reference_logits(decoder, embedding, dense_map, sparse, dense)
    torch.testing.assert_close(answer.logits, logits[:, list(masks)], rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.iou, iou[:, list(masks)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("masks", [(0,), (2,), (0, 3)])
def test_only_the_masks_asked_for_are_computed(decoder, masks):
    ran = []
    for i, mlp in enumerate(decoder.output_hypernetworks_mlps):
        mlp.register_forward_hook(lambda *_, i=i: ran.append(i))
    decoder(noise(1, 48, 4, 4, 4), noise(1, 48, 4, 4, 4), noise(1, 2, 48), noise(1, 48, 4, 4, 4), masks=masks)
    assert ran == list(masks)


def test_another_dense_map_or_other_weights_give_another_answer(decoder):
    """What positions add is kept between clicks; it must not outlive what it was computed from."""
    embedding, sparse, dense = noise(1, 48, 4, 4, 4), noise(1, 2, 48), noise(1, 48, 4, 4, 4, seed=2)
    maps = noise(1, 48, 4, 4, 4, seed=3), noise(1, 48, 4, 4, 4, seed=4)
    with torch.no_grad():
        for dense_map in (*maps, *maps):
            fresh = copy.deepcopy(decoder)
            expected = fresh(embedding, dense_map, sparse, dense).logits
            assert torch.equal(decoder(embedding, dense_map, sparse, dense).logits, expected)
        before = expected
        randomise(decoder, seed=9)
        after = decoder(embedding, maps[1], sparse, dense).logits
        assert torch.equal(after, copy.deepcopy(decoder)(embedding, maps[1], sparse, dense).logits)
        assert not torch.allclose(after, before)
