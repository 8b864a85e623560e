"""The public vectors through the whole way: checkpoint, conversion, card, model with places of experts."""

from copy import deepcopy

import pytest
import torch

from sam_moe.registry import read_entry
from sam_moe.systems.m4oe.convert.converting import Wanted, convert_public
from sam_moe.systems.m4oe.load import load
from sam_moe.systems.m4oe.model import M4oE, Slices
from tests.hosts.swin_unet.public import NEAR, difference, folders, read, two_best


@pytest.fixture(scope="module", params=folders("input", "predict_head", "logits"))
def variant(request):
    return read(request.param)


@pytest.fixture(scope="module")
def model(variant, tmp_path_factory) -> M4oE:
    """The model that a user gets who converts the checkpoint; tests work on copies."""
    folder = tmp_path_factory.mktemp("converted")
    torch.save({"model": {f"module.swin_unet.{n}": t for n, t in variant.state.items()}}, folder / "x.pth")
    made = convert_public(folder / "x.pth", folder, Wanted(image_size=variant.case["image_size"]))
    assert made.card.architecture == variant.sizes
    return load(read_entry(made.path), None, "cpu", None).network.module


def logits(model: M4oE, variant, heads: torch.Tensor) -> torch.Tensor:
    kind = next(model.parameters()).dtype
    with torch.no_grad():
        found, _ = model(Slices(variant.images.to(kind), heads, torch.arange(len(heads))))
    return found


def test_a_converted_checkpoint_has_the_public_logits_in_double(variant, model):
    ours = logits(deepcopy(model).double(), variant, variant.heads)
    if "logits_float64" in variant.vectors:
        assert difference(ours, variant.vectors["logits_float64"]) <= 1e-9
    else:
        assert difference(ours[..., ::4, ::4], variant.vectors["logits_float64_every_4th"]) <= 1e-9


def test_and_in_single_precision_its_own_places_are_as_near(variant, model):
    ours, theirs = logits(model, variant, variant.heads), variant.vectors["logits"]
    assert difference(ours, theirs) <= NEAR
    sure = two_best(theirs) > 1e-3
    assert torch.equal(ours.argmax(1)[sure], theirs.argmax(1)[sure])


def test_the_channel_gate_does_not_route_as_the_public_one_does_not(variant, model):
    """All experts weigh the same whatever the slice: their order changes nothing but the last digits."""
    model = deepcopy(model).double()
    before = logits(model, variant, variant.heads)
    ids = model.mixture.experts
    state = model.state_dict()
    turned = dict(zip(ids, (*ids[1:], ids[0]), strict=True))
    moved = {}
    for name, tensor in state.items():
        for id, other in turned.items():
            if f".experts.{id}." in name:
                name = name.replace(f".experts.{id}.", f".experts.{other}.")
                break
        moved[name] = tensor.clone()
    model.load_state_dict(moved)
    assert difference(logits(model, variant, variant.heads), before) <= 1e-9
