"""A box slice by slice: rectangles go to the network in its own picture and come back where they were."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.peers import slicewise
from sam_moe.prompts import Box
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SHAPE = (40, 30, 6)


class Rectangles(nn.Module):
    """A network of the peer's shape that paints the rectangle it is given, and counts what it embeds."""

    def __init__(self):
        super().__init__()
        self.embedded = []
        self.prompt_encoder = self.Prompts()

    class Prompts:
        def __call__(self, points, boxes, masks):
            assert points is None and masks is None
            return boxes[0, 0], None

        def get_dense_pe(self):
            return None

    def image_encoder(self, picture):
        assert picture.shape == (1, 3, slicewise.SIZE, slicewise.SIZE)
        self.embedded.append(picture)
        return picture

    def mask_decoder(self, sparse_prompt_embeddings, multimask_output, **_):
        left, top, right, bottom = (sparse_prompt_embeddings / 4).tolist()  # logits are a quarter as large
        at = torch.arange(slicewise.SIZE // 4) + 0.5
        inside = ((at > top) & (at < bottom))[:, None] & ((at > left) & (at < right))[None]
        return (inside.float() * 2 - 1)[None, None] * 10, None


@pytest.fixture
def scan():
    rng = torch.Generator().manual_seed(0)
    return Volume(torch.rand(SHAPE, generator=rng) * 500, Grid(np.diag([1.0, 1.0, 3.0, 1.0]), SHAPE))


def test_the_mask_of_a_box_is_that_box_in_its_own_slices(scan):
    box = Box((8, 5, 2), (28, 25, 5))
    mask = slicewise.SliceWise(Rectangles(), scan, ct=False)(box)
    wanted = np.zeros(SHAPE, dtype=bool)
    wanted[8:28, 5:25, 2:5] = True
    both = 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum())
    assert mask.shape == SHAPE and both > 0.93  # logits of a quarter of the size
    assert not mask[..., :2].any() and not mask[..., 5:].any() and mask[..., 2:5].any(axis=(0, 1)).all()


def test_each_slice_is_embedded_once_for_all_boxes(scan):
    network = Rectangles()
    slices = slicewise.SliceWise(network, scan, ct=False)
    slices(Box((8, 5, 2), (28, 25, 5)))
    slices(Box((2, 2, 1), (9, 9, 4)))
    assert len(network.embedded) == 4  # 2, 3, 4 and then 1


def test_pictures_are_looked_at_as_radiologists_do_and_padded_below_and_on_the_right(scan):
    network = Rectangles()
    array = scan.array.clone()
    array[:] = 0
    array[39, 29, 0] = 500  # left and anterior in RAS order
    slicewise.SliceWise(network, Volume(array, scan.grid), ct=True)(Box((0, 0, 0), (2, 2, 1)))
    (picture,) = network.embedded
    row, column = divmod(int(picture[0, 0].argmax()), slicewise.SIZE)
    assert row < 8 and column < 8  # anterior on top, the last index on the left
    assert not picture[0, 0, 30 * slicewise.SIZE // 40 + 1 :].any()


def test_a_ct_has_the_soft_tissue_window(scan):
    scan.array[0, 0, 0], scan.array[1, 0, 0], scan.array[2, 0, 0] = -1000.0, 40.0, 3000.0
    image = slicewise.SliceWise(Rectangles(), scan, ct=True).image
    assert image[:3, 0, 0].tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_mr_is_scaled_between_percentiles_of_its_tissue(scan):
    image = slicewise.SliceWise(Rectangles(), scan, ct=False).image
    low, high = np.percentile(scan.array[scan.array > 0].numpy(), (0.5, 99.5))
    i = (5, 6, 2)
    assert float(image[i]) == pytest.approx(min(max((float(scan.array[i]) - low) / (high - low), 0), 1))
    assert float(image.min()) == 0 and float(image.max()) == 1


def test_a_scan_of_nothing_is_no_error():
    empty = Volume(torch.zeros(SHAPE), Grid(np.eye(4), SHAPE))
    assert slicewise.SliceWise(Rectangles(), empty, ct=False)(Box((8, 5, 2), (28, 25, 5))).any()
