"""Swin-MAE's numbers, met for every folder of vectors that has them (`public.FOLDER`)."""

import pytest
import torch
from torch import nn

from sam_moe.hosts.swin_unet.masked import MaskedSwin, masked_loss, masked_patches
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from tests.hosts.swin_unet.public import COMPUTED, answers, difference, folders, read


class Mlp(nn.Module):
    """The feed-forward part under Swin-MAE's names."""

    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens, asked=None):
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))


@pytest.fixture(params=folders("noise", "prediction", "mask"))
def variant(request):
    return read(request.param)


def network(variant) -> MaskedSwin:
    case = variant.case
    sizes = SwinSizes(
        image_size=case["img"],
        in_channels=case["in_channels"],
        embed_dim=case["embed"],
        depths=case["depths"],
        heads=case["heads"],
        window=case["window"],
        classes=(1,),
    )
    model = MaskedSwin(sizes, lambda _, width, hidden: Mlp(width, hidden))
    own = {n: t for n, t in variant.state.items() if not n.endswith((*COMPUTED, "pos_embed"))}
    model.load_state_dict(own, strict=True)
    return model.eval()


def test_the_stored_noise_masks_the_stored_patches(variant):
    mask = masked_patches(variant.vectors["noise"], variant.case["ratio"])
    assert torch.equal(mask, variant.vectors["mask"].bool())
    assert mask.float().mean() == variant.case["masked_share"]


def test_prediction_and_loss_are_the_public_ones(variant):
    vectors, model = variant.vectors, network(variant)
    mask = vectors["mask"].bool()
    found = []
    seen = answers(model, lambda: found.append(model(vectors["input"], mask)))
    middle = {"patch_embed": "patch_embed", "latent": "layers.3", "expand.0": "first_patch_expanding"}
    for vector, module in {**middle, "decoder.1": "layers_up.0"}.items():
        theirs = vectors[f"mid.{vector}"].flatten(1, 2)
        assert difference(seen[module][1], theirs) <= (5e-4 if vector == "decoder.1" else 1e-5), vector
    assert torch.equal(seen["layers.0"][0][mask], model.mask_token[0].expand(int(mask.sum()), -1))
    assert difference(found[0], vectors["prediction"]) <= 5e-4
    loss = masked_loss(found[0], vectors["input"], mask)
    assert loss.item() == pytest.approx(variant.case["loss"], abs=1e-4)
    exact = masked_loss(vectors["prediction"], vectors["input"], mask)
    assert exact.item() == pytest.approx(vectors["loss"].item(), abs=1e-6)


def test_in_double_the_prediction_is_within_single_precision_of_the_public_one(variant):
    with torch.no_grad():
        ours = network(variant).double()(variant.vectors["input"].double(), variant.vectors["mask"].bool())
    assert difference(ours, variant.vectors["prediction"]) <= 5e-4
