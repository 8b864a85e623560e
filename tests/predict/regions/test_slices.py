"""A network that sees one slice answers through the same door as one that sees a cube."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sam_moe.errors import PromptError
from sam_moe.predict.answering import Promptable
from sam_moe.predict.model import Model
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


class Likeness:
    """Segments what is as bright as the clicks, in two dimensions and at half the region's resolution."""

    box_strategy = "corners"
    embedding_key = "likeness"
    outside = None

    def __init__(self):
        self.seen = []

    def embed(self, image, dtype=None):
        self.seen.append(image)
        return F.avg_pool2d(image[None, None, :, :, 0], 2)

    def route(self, embedding, points, labels, boxes):
        return None

    def answer(self, embedding, points, labels, boxes, previous=None, routing=None):
        plane = embedding[0, 0]
        i, j = ((points[labels == 1, :2] + 0.5) / 2 - 0.5).round().long().T
        wanted = plane[i, j].mean() if len(i) else torch.tensor(100.0)
        logits = 50 - (plane - wanted).abs()
        for start, stop in boxes:
            inside = torch.zeros_like(plane, dtype=torch.bool)
            (a, b), (c, d) = ((torch.stack([start, stop]) / 2).round().int().T[:2]).tolist()
            inside[a:b, c:d] = True
            logits = logits.where(inside, -50)
        for i, j in ((points[labels == 0, :2] + 0.5) / 2 - 0.5).round().int().tolist():
            logits[i - 1 : i + 2, j - 1 : j + 2] = -50
        return logits[..., None], None


SLICE = Preprocessing(region_voxels=(32, 32, 1), spacing_mm=2.0, normalisation="mean", zoom_max=4)


def scan_of(brick, shape=(48, 48, 12)):
    """A brick of 100 on 0, in voxels of 2 mm."""
    array = torch.zeros(shape)
    array[tuple(slice(*ends) for ends in brick)] = 100
    return Volume(array, Grid.around((0, 0, 0), shape, (2, 2, 2)))


@pytest.fixture
def network():
    return Likeness()


@pytest.fixture
def model(network):
    return Model(network, SLICE, "slices", lowering=Lowering(flat_box="box"), refine_regions=9)


BRICK = ((16, 28), (18, 30), (3, 9))


def test_a_network_of_slices_is_promptable(network):
    assert isinstance(network, Promptable)


def test_a_click_is_answered_on_its_slice_alone(model, network):
    session = model.open(scan_of(BRICK))
    found = session.predict(Point((20, 22, 5)))
    expected = torch.zeros(48, 48, 12, dtype=torch.uint8)
    expected[16:28, 18:30, 5] = 1
    assert torch.equal(found.mask, expected)
    assert [image.shape for image in network.seen] == [(32, 32, 1)]
    assert found.region.shape == (32, 32, 1) and found.answered is None


def test_a_box_on_one_slice_bounds_the_answer_there(model):
    found = model.open(scan_of(BRICK)).predict(Box((18, 20, 5), (24, 30, 6)))
    assert found.mask[19:23, 21:29, 5].all()  # the answer is half as fine as the scan
    assert found.mask[:, :, 5].sum() == found.voxels <= 8 * 12


def test_further_clicks_on_the_slice_are_of_one_encoding_and_can_be_taken_back(model, network):
    session = model.open(scan_of(BRICK))
    first = session.predict(Point((20, 22, 5)))
    second = session.refine(Point((26, 28, 5), positive=False))
    assert second.cached and len(network.seen) == 1
    assert 0 < first.voxels - second.voxels <= 36
    assert torch.equal(session.undo().mask, first.mask)
    assert torch.equal(session.redo().mask, second.mask)


def test_a_click_on_another_slice_looks_there(model, network):
    session = model.open(scan_of(BRICK))
    session.predict(Point((20, 22, 5)))
    other = session.predict(Point((20, 22, 8)))
    assert len(network.seen) == 2
    assert other.region.world_of((0, 0, 0))[2] == other.grid.world_of((0, 0, 8))[2]


def test_a_target_wider_than_the_region_is_followed_within_its_slice(model):
    """40 voxels of 2 mm are more than the 32 that the region has: it zooms out, then nine regions refine."""
    scan = scan_of(((2, 42), (4, 44), (3, 9)))
    narrow = replace(model, whole_targets=False).open(scan).predict(Point((22, 24, 5)))
    whole = model.open(scan).predict(Point((22, 24, 5)))
    assert narrow.voxels == 32 * 32 and whole.region.spacing_mm[0] > 2
    assert whole.mask[:, :, 5].sum() == whole.voxels
    truth = torch.zeros(48, 48, dtype=torch.bool)
    truth[2:42, 4:44] = True
    both = (whole.mask[:, :, 5].bool() & truth).sum()
    assert 2 * both / (whole.voxels + truth.sum()) > 0.97


def test_several_targets_on_different_slices_make_one_map(model):
    session = model.open(scan_of(BRICK))
    found = session.predict_targets({n: Prompt((Point((20, 22, k)),)) for n, k in (("low", 4), ("high", 7))})
    assert (found.labels[:, :, 4] == 1).sum() == (found.labels[:, :, 7] == 2).sum() == 144
    assert found.labels.count_nonzero() == 288


def test_clicks_on_slices_on_both_sides_of_a_third_are_refused(model):
    with pytest.raises(PromptError, match="no point or box lies in the region"):
        model.open(scan_of(BRICK)).predict(Point((20, 22, 3)), Point((20, 22, 8)))
