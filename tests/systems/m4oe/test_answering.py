"""Slices of any size through the network, in tiles of its own size."""

import pytest
import torch

from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.selection import Selection
from sam_moe.systems.m4oe import answering
from sam_moe.systems.m4oe.answering import answer, by_row
from sam_moe.systems.m4oe.model import Slices
from tests.systems.m4oe.tiny import CONV, SWIN, mixture_of, network, noise

BOTH = pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])


def asked(model, images, head=0):
    heads = torch.full((len(images),), head)
    with torch.no_grad():
        return model(Slices(images, heads, torch.zeros_like(heads)))


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@BOTH
@pytest.mark.parametrize("pooling", ["token", "slice", "volume"])
def test_slices_of_the_networks_own_size_are_its_answers(sizes, pooling):
    model, images = network(sizes, mixture_of(pooling=pooling)), noise(3, 3, *[sizes.image_size] * 2)
    logits, found = answer(model, images, 1)
    expected, routed = asked(model, images, 1)
    same(logits, expected)
    assert list(found) == list(routed) == list(model.sites())
    for name, routing in found.items():
        assert routing.weights.shape == (3, 3) and routing.ids == ("ct", "mr-t2", "mr-t1")
        weights = routed[name].weights
        same(routing.weights, weights.mean(dim=1) if pooling == "token" else weights)


@BOTH
def test_slices_smaller_than_a_tile_are_answered_in_its_middle(sizes):
    model, images, edge = network(sizes, mixture_of()), noise(2, 3, 6, 5), sizes.image_size
    at = ((edge - 6) // -2 * -1, (edge - 5) // -2 * -1)
    by_hand = images.amin(dim=(1, 2, 3), keepdim=True).repeat(1, 3, edge, edge)
    by_hand[:, :, at[0] : at[0] + 6, at[1] : at[1] + 5] = images
    there = asked(model, by_hand)[0][:, :, at[0] : at[0] + 6, at[1] : at[1] + 5]
    same(answer(model, images, 0)[0], there)


@BOTH
def test_a_slice_that_shows_nothing_is_background_and_routed_by_none(sizes):
    model, images = network(sizes, mixture_of()), noise(2, 3, 20, 20)
    images[1] = 3.0
    logits, found = answer(model, images, 0)
    assert (logits[1].argmax(dim=0) == 0).all() and logits[1].softmax(dim=0)[0].min() > 0.999
    for routing in found.values():
        assert routing.weights[1].tolist() == [0, 0, 0] and routing.weights[0].sum() > 0.99
    for count in (0, 1):  # a scan without anything, and one without slices
        logits, found = answer(model, images[1 : 1 + count], 0)
        assert (logits[:, 0] == 20).all() and list(found) == list(model.sites())
        assert all(routing.weights.tolist() == [[0, 0, 0]] * count for routing in found.values())


def test_a_swin_network_answers_large_slices_in_tiles():
    """56 pixels along x: tiles begin at 0 and 24, and share 8; elsewhere each tile's answer stands alone."""
    model, images = network(SWIN, mixture_of()), noise(2, 3, 56, 32)
    logits, found = answer(model, images, 0)
    assert logits.shape == (2, 3, 56, 32)
    first, of_first = asked(model, images[:, :, :32])
    last, of_last = asked(model, images[:, :, 24:])
    same(logits[:, :, :24], first[:, :, :24])
    same(logits[:, :, 32:], last[:, :, 8:])
    low, high = (
        torch.minimum(first[:, :, 24:], last[:, :, :8]),
        torch.maximum(first[:, :, 24:], last[:, :, :8]),
    )
    between = logits[:, :, 24:32]
    assert (between >= low - 1e-5).all() and (between <= high + 1e-5).all()
    for name, routing in found.items():  # of each slice its own tiles' mean
        same(routing.weights, (of_first[name].weights + of_last[name].weights) / 2)


@BOTH
@pytest.mark.parametrize("pooling", ["token", "slice"])
def test_no_slice_depends_on_those_that_are_answered_with_it(sizes, pooling, monkeypatch):
    model = network(sizes, mixture_of(pooling=pooling))
    images = noise(5, 3, 37, 21) + torch.arange(5.0)[:, None, None, None]
    logits, found = answer(model, images, 0)
    monkeypatch.setattr(answering, "_PIXELS", 2 * 40 * 32)
    for rows in ([0, 1, 2, 3, 4], [3], [4, 2]):
        again, routed = answer(model, images[rows], 0)
        same(again, logits[rows])
        for name, routing in routed.items():
            same(routing.logits, found[name].logits[rows])


def test_a_scan_is_routed_as_a_whole_where_gates_see_it_so_in_whatever_pieces_it_runs(monkeypatch):
    for sizes in (CONV, SWIN):
        model, images = network(sizes, mixture_of(pooling="volume")), noise(5, 3, 40, 36)
        monkeypatch.setattr(answering, "_PIXELS", 40 * 40)
        _, found = answer(model, images, 0)
        for routing in found.values():
            same(routing.weights, routing.weights[:1].expand(5, 3))


@BOTH
def test_a_rule_that_is_given_selects(sizes):
    model, images = network(sizes, mixture_of()), noise(3, 3, 40, 20)
    _, found = answer(model, images, 0, Forced(2))
    for routing in found.values():
        assert routing.weights.tolist() == [[0.0, 0.0, 1.0]] * 3 and routing.rule == Forced(2)
    _, found = answer(model, images, 2, model.known(torch.tensor([1])))
    for routing in found.values():
        assert routing.weights.tolist() == [[0.0, 1.0, 0.0]] * 3


def test_the_routing_of_tokens_becomes_their_mean_by_hand():
    logits = torch.tensor([[[0.0, 2.0], [4.0, 0.0]]])
    weights = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]])
    every = torch.arange(2).expand(1, 2, 2)
    tokens = Routing(
        ("a", "b"), logits, Selection(every, weights, torch.zeros(1, 2, dtype=torch.bool)), Dense()
    )
    one = by_row(tokens)
    assert one.logits.tolist() == [[2.0, 1.0]] and one.weights.tolist() == [[0.5, 0.5]]
    assert one.answered == ({"a": 0.5, "b": 0.5},) and one.granularity == "prompt"
