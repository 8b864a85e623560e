"""SAM-Med3D behind the door that prediction asks: intensities in, logits out."""

from dataclasses import replace

import pytest
import torch

from sam_moe.hosts.sam3d.lowering import draw_box, lower_box
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.normalise import normalise
from sam_moe.hosts.sam3d.promptable import PromptableSam3D, Sam3DModule
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.predict.answering import Promptable

SIZES = Sizes(16, 8, 24, 1, 2, 2, (0,), 48, 16, 8, 1, 8, corner_embeddings=True)
POINTS, LABELS = torch.tensor([[3.0, 4.0, 5.0], [9.0, 8.0, 7.0]]), torch.tensor([1, 0])
NO_POINTS, NO_LABELS, NO_BOXES = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, 3)
BOXES = torch.tensor([[[2.0, 3.0, 4.0], [6.0, 8.0, 10.0]], [[8.0, 3.0, 4.0], [12.0, 8.0, 16.0]]])
HULL = torch.tensor([[[2.0, 3.0, 4.0], [12.0, 8.0, 16.0]]])


@pytest.fixture
def module():
    torch.manual_seed(0)
    return SamMed3D(SIZES).eval().requires_grad_(False)


@pytest.fixture
def promptable(module):
    return PromptableSam3D(module, "positive", "mask")


@pytest.fixture
def image(generator):
    return 100 * torch.rand(16, 16, 16, generator=generator) - 20


def plain(module, embedding, points, labels, boxes, mask):
    """The network's own call, one prompt a batch."""
    tokens = module.encode_prompt(points, labels, boxes, mask)
    return module.decode(embedding, tokens)[0, 0]


def test_it_is_what_prediction_asks_for(module, promptable):
    assert isinstance(module, Sam3DModule) and isinstance(promptable, Promptable)


@pytest.mark.parametrize("how", ["positive", "mean"])
def test_a_region_is_normalised_as_the_weights_were_trained_and_encoded(module, image, how):
    found = PromptableSam3D(module, how, "mask").embed(image)
    assert torch.equal(found, module.encode(normalise(image, how)[None, None]))


def test_products_in_bfloat16_are_near_those_in_float32(promptable, image):
    exact, half = promptable.embed(image), promptable.embed(image, torch.bfloat16)
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.05 * exact.abs().max()


def test_what_lies_outside_the_scan_is_left_out_of_the_moments_where_they_are_of_positive_voxels(module):
    outside = {how: PromptableSam3D(module, how, "mask").outside for how in ("positive", "mean")}
    assert outside == {"positive": 0.0, "mean": None}


def test_clicks_go_with_zeros_at_first_and_with_the_last_logits_later(module, promptable, image):
    embedding, last = promptable.embed(image), torch.randn(8, 8, 8)
    for previous, mask in ((None, torch.zeros(8, 8, 8)), (last, last)):
        found, routing = promptable.answer(embedding, POINTS, LABELS, NO_BOXES, previous)
        expected = plain(module, embedding, POINTS[None], LABELS[None], None, mask[None, None])
        assert torch.equal(found, expected) and routing is None


@pytest.mark.parametrize("strategy", ["corners", "center", "mask"])
def test_several_boxes_are_the_one_around_them_and_drawn_each_by_itself(module, promptable, image, strategy):
    embedding = promptable.embed(image)
    found, _ = replace(promptable, box_strategy=strategy).answer(embedding, NO_POINTS, NO_LABELS, BOXES)
    lowered = lower_box(HULL, strategy, 16, 8)
    mask = draw_box(BOXES, 16, 8).amax(0)[None] if strategy == "mask" else torch.zeros(1, 1, 8, 8, 8)
    assert torch.equal(found, plain(module, embedding, lowered.points, lowered.labels, lowered.boxes, mask))


def test_a_box_stands_before_the_clicks_and_is_not_drawn_over_an_earlier_answer(module, promptable, image):
    embedding, last = promptable.embed(image), torch.randn(8, 8, 8)
    found, _ = promptable.answer(embedding, POINTS, LABELS, BOXES[:1], last)
    at = torch.cat([lower_box(BOXES[:1], "mask", 16, 8).points, POINTS[None]], dim=1)
    assert torch.equal(found, plain(module, embedding, at, torch.tensor([[1, 1, 0]]), None, last[None, None]))


def test_a_model_alone_has_no_experts_to_choose_and_takes_no_routing(module, promptable, image):
    embedding = promptable.embed(image)
    assert promptable.route(embedding, POINTS, LABELS, NO_BOXES) is None
    tokens = module.encode_prompt(POINTS[None], LABELS[None], None, None)
    assert torch.equal(module.decode_routed(embedding, tokens)[0], module.decode(embedding, tokens))


def test_modules_share_embeddings_only_where_encoder_and_normalisation_are_equal(module):
    a, b = PromptableSam3D(module, "mean", "mask", "e"), PromptableSam3D(module, "mean", "center", "e")
    assert a.embedding_key == b.embedding_key
    assert a.embedding_key != PromptableSam3D(module, "positive", "mask", "e").embedding_key
    one, two = (PromptableSam3D(module, "mean", "mask") for _ in range(2))
    assert one.embedding_key != two.embedding_key
