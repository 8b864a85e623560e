"""A fingerprint is equal for equal weights, and for no others."""

import re

import torch
from torch import nn

from sam_moe.weights.checksums import fingerprint, fingerprint_of
from sam_moe.weights.files import save_weights


def linear():
    """A layer with known numbers."""
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    return layer


def test_a_fingerprint_knows_every_bit_and_the_kind_of_number():
    layer = linear()
    first = fingerprint(layer)
    assert re.fullmatch("[0-9a-f]{64}", first) and first == fingerprint(linear())
    bits = layer.weight.data.view(torch.int32)
    bits[0, 0] ^= 1
    assert fingerprint(layer) != first
    bits[0, 0] ^= 1
    assert fingerprint(layer) == first
    assert fingerprint(layer.half()) != first


def test_a_fingerprint_knows_names_and_not_the_order_of_modules():
    def holding(*names):
        module = nn.Module()
        for name in names:
            module.add_module(name, linear())
        return module

    assert fingerprint(holding("a", "b")) == fingerprint(holding("b", "a"))
    assert fingerprint(holding("a", "b")) != fingerprint(holding("a", "c"))


def test_a_fingerprint_does_not_depend_on_how_tensors_lie_in_memory():
    strided = linear()
    strided.weight = nn.Parameter(torch.tensor([[1.0, 9.0, 2.0]])[:, ::2])
    assert strided.weight.stride() != linear().weight.stride()
    assert fingerprint(strided) == fingerprint(linear())


def test_a_fingerprint_is_not_fooled_by_bytes_that_move_between_tensors():
    def with_shapes(first, second):
        module = nn.Module()
        module.a = nn.Parameter(torch.zeros(first))
        module.b = nn.Parameter(torch.zeros(second))
        return module

    assert fingerprint(with_shapes(2, 4)) != fingerprint(with_shapes(4, 2))
    assert fingerprint(with_shapes((2, 3), 1)) != fingerprint(with_shapes((3, 2), 1))


def test_a_files_fingerprint_is_that_of_the_network_it_is_loaded_into(tmp_path):
    save_weights({name: t.half() for name, t in linear().state_dict().items()}, tmp_path / "half.safetensors")
    assert fingerprint_of(tmp_path / "half.safetensors") == fingerprint(linear())
