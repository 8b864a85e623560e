"""What the encoder's benchmark counts and measures: operations, allocations, turns, the plain decoder."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import encoder
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder


def test_attention_is_counted_as_two_products():
    q, k = (2, 3, 5, 7), (2, 3, 11, 7)  # batch, heads, queries or keys, channels
    assert encoder._attention_flop(q, k, k) == 2 * (2 * 5 * 11 * 7) * 2 * 3


def test_attention_on_a_cpu_is_not_forgotten():
    q = torch.randn(1, 1, 4, 8)
    with FlopCounterMode(display=False) as counter:
        nn.functional.scaled_dot_product_attention(q, q, q)
    assert counter.get_total_flops() == 4 * 4 * 4 * 8


def test_the_public_encoder_has_the_operations_of_the_page():
    assert encoder.encoder_gflop(plain=True) == pytest.approx(368.6, abs=0.05)
    assert encoder.encoder_gflop(plain=False) == pytest.approx(104.7, abs=0.05)


def test_the_peak_is_of_what_is_held_at_once():
    def work():
        first = torch.ones(10**6, dtype=torch.uint8)
        second = torch.ones(3 * 10**6, dtype=torch.uint8)
        del first
        return second[:1].clone()

    peak, answer = encoder.peak_allocated_mb(work)
    assert peak == pytest.approx(4.0, abs=0.2) and answer.tolist() == [1]


def test_runs_are_measured_one_after_the_other_in_every_round():
    order = []
    runs = {"a": (lambda: order.append("a"), 2), "b": (lambda: order.append("b"), 1)}
    seconds = encoder.in_turn(runs, 3)
    assert order == ["a", "a", "b"] * 3 and seconds.keys() == {"a", "b"}
    assert all(value >= 0 for value in seconds.values())


@pytest.mark.slow
def test_the_plain_decoder_gives_the_same_logits():
    torch.manual_seed(0)
    sizes = encoder.SIZES
    ours = MaskDecoder(sizes).eval().requires_grad_(False)
    plain = encoder.PlainDecoder(ours)
    cubes = [torch.randn(1, sizes.out_channels, *[sizes.grid] * 3) for _ in range(3)]
    args = (cubes[0], cubes[1], torch.randn(1, 2, sizes.out_channels), cubes[2])
    torch.testing.assert_close(plain(*args), ours(*args).logits, atol=1e-4, rtol=1e-4)


def test_the_matmul_rates_are_of_all_linear_layers():
    with torch.device("meta"):
        layers = nn.Sequential(nn.Linear(768, 768), nn.Linear(768, 3072), nn.ReLU(), nn.Linear(3072, 768))
    work = 2e-9 * encoder.SIZES.grid**3 * (768 * 768 + 2 * 768 * 3072)
    with torch.device("meta"):
        runs, gflop = encoder.matmul_runs(layers)
        runs["linears"]()
    assert gflop == pytest.approx(work) and runs.keys() == {"square", "linears"}


def test_the_hardware_is_one_line_with_versions():
    line = encoder.hardware()
    assert "\n" not in line and f"torch {torch.__version__}" in line and "threads" in line
