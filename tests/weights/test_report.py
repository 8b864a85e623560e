"""A report names what a checkpoint lacks, has too much of or has in another shape, by module."""

import torch

from sam_moe.weights.report import compare, with_nearest

MODEL = {"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2), "neck.weight": torch.zeros(4)}


def test_a_checkpoint_that_fits_is_ok_and_counted_in_any_precision():
    report = compare({name: tensor.half() for name, tensor in MODEL.items()}, MODEL)
    assert report.ok and str(report) == "all 3 tensors are there and fit"


def test_each_module_and_kind_of_trouble_has_a_line():
    state = {"head.weights": torch.zeros(2, 3), "head.bias": torch.zeros(5), "tail.weight": torch.zeros(1)}
    assert str(compare(state, MODEL)).splitlines() == [
        "of 3 tensors 2 are missing and 1 do not fit; 2 are not the model's",
        "  head: missing: head.weight (the file has head.weights)",
        "  head: unexpected: head.weights",
        "  head: not fitting: head.bias is 5 float32, expected 2 float32",
        "  neck: missing: neck.weight",
        "  tail: unexpected: tail.weight",
    ]


def test_whole_numbers_are_no_weights():
    report = compare(MODEL | {"neck.weight": torch.zeros(4, dtype=torch.int64)}, MODEL)
    assert [str(misfit.found) for misfit in report.misfits] == ["4 int64"]


def test_four_are_named_and_the_others_counted():
    expected = {f"head.{letter}": torch.zeros(()) for letter in "abcdef"}
    assert "head: missing: head.a, head.b, head.c, head.d and 2 more" in str(compare({}, expected))
    assert "expected scalar float32" in str(compare(expected | {"head.a": torch.zeros(1)}, expected))


def test_only_a_name_spelled_alike_may_have_been_meant():
    assert with_nearest("head.weight", ["neck.bias"]) == "head.weight"
    assert with_nearest("head.weight", ["head.weighs", "x"]) == "head.weight (the file has head.weighs)"
