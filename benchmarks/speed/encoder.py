"""What a region and a click cost at full size: plain against collapsed attention, decoder, up-sampling, bf16.

    python -m benchmarks.speed.encoder [--rounds 3] [--threads N]

Random weights of the public model's sizes, one region of 128^3. Everything is measured alternately in rounds
and medians are reported, so that a neighbour on the machine disturbs all sides alike. The last line is one
JSON object.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks.cases import ROOT
from benchmarks.speed.memory import rise_of_resident_mb
from sam_moe.hosts.sam3d.network.image_encoder import ImageEncoder
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.segment_anything import prepare
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.processes import threads, use_threads
from sam_moe.space.upsampling import upsample

SIZES = Sizes()
SQUARE = 4096


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)  # torch counts CUDA's only
def _attention_flop(q, k, v, *_args, out_shape=None, **_kwargs) -> int:
    """Two products, each 2 * queries * keys * channels a head; without this, 10 GFLOP would be forgotten."""
    batch, heads, queries, channels = q
    return 4 * batch * heads * queries * k[2] * channels


def full_encoder() -> ImageEncoder:
    """Seeded random weights, with position tables and embeddings that matter."""
    torch.manual_seed(0)
    encoder = ImageEncoder(SIZES).eval().requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or name == "pos_embed":
            nn.init.normal_(parameter, std=0.1)
    return encoder


def region() -> Tensor:
    return torch.randn(1, 1, *[SIZES.image_size] * 3, generator=torch.Generator().manual_seed(1))


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(runs: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    """Median seconds of each run: (function, repeats a round), one after the other in every round."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, (run, repeats) in runs.items():
            seconds[name] += [timed(run) for _ in range(repeats)]
    return {name: statistics.median(s) for name, s in seconds.items()}


def encoder_gflop(plain: bool) -> float:
    """Counted on the meta device, where nothing is computed."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ImageEncoder(SIZES)(torch.empty(1, 1, *[SIZES.image_size] * 3), plain)
    return counter.get_total_flops() / 1e9


def peak_allocated_mb(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Most that torch's CPU allocator holds at once during `run`, above what it held before; the answer too.

    From the profiler's record of every allocation and release, those inside operators included; buffers that
    MKL and oneDNN keep for themselves are not torch's and are seen only in the resident size
    (`peak_resident_mb`).
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        answer = run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 1e6, answer


def peak_resident_mb(plain: bool) -> float:
    """The cross-check: how far a fresh process's resident size rises over one encoding after a first one."""
    way = "plain" if plain else "collapsed"
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.encoder",
        "--resident",
        way,
        "--threads",
        str(threads()),
    ]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def rise_of_one_encoding_mb(plain: bool) -> float:
    """What `peak_resident_mb` asks of the fresh process."""
    encoder, image = full_encoder(), region()
    encoder(image, plain)
    return rise_of_resident_mb(lambda: encoder(image, plain))


def matmul_runs(encoder: ImageEncoder) -> tuple[dict[str, Callable[[], object]], float]:
    """Two ways to measure this machine's matmul rate, and the GFLOP of the second.

    One large square product, and all 48 linear layers of the encoder at their own shapes, weights as cold as
    there.
    """
    square = torch.randn(SQUARE, SQUARE)
    inputs = {n: torch.randn(SIZES.grid**3, n) for n in (SIZES.embed_dim, 4 * SIZES.embed_dim)}
    layers = [m for m in encoder.modules() if isinstance(m, nn.Linear)]

    def linears() -> None:
        for layer in layers:
            layer(inputs[layer.in_features])

    return {"square": lambda: square @ square, "linears": linears}, 2e-9 * SIZES.grid**3 * sum(
        x.in_features * x.out_features for x in layers
    )


class PlainDecoder:
    """The decoder as the reference runs it: segment-anything's blocks, convolutions, all four masks."""

    def __init__(self, ours: MaskDecoder) -> None:
        prepare()  # it imports without torchvision from here on
        from segment_anything.modeling import TwoWayTransformer

        self.parts = ours
        self.transformer = TwoWayTransformer(
            SIZES.decoder_depth, SIZES.out_channels, SIZES.decoder_heads, SIZES.decoder_mlp_dim
        ).eval()
        self.transformer.load_state_dict(ours.transformer.state_dict())

    def __call__(self, embedding: Tensor, dense_map: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
        fixed = torch.cat([self.parts.iou_token.weight, self.parts.mask_tokens.weight])
        tokens = torch.cat([fixed.expand(len(sparse), -1, -1), sparse], dim=1)
        tokens, source = self.transformer((embedding + dense).flatten(3), dense_map.flatten(3), tokens)
        up = self.parts.output_upscaling(source.transpose(1, 2).reshape(embedding.shape))
        hyper = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.parts.output_hypernetworks_mlps)]
        logits = (torch.stack(hyper, dim=1) @ up.flatten(2)).view(len(sparse), 4, *up.shape[2:])
        self.parts.iou_prediction_head(tokens[:, 0])
        return logits[:, :1]


def encoder_figures(rounds: int) -> dict[str, float]:
    encoder, image = full_encoder(), region()
    rates, linear_gflop = matmul_runs(encoder)
    collapsed, plain = (lambda: encoder(image)), (lambda: encoder(image, plain=True))
    half = lambda: encoder(image, dtype=torch.bfloat16)  # noqa: E731
    activation_mb, ours = peak_allocated_mb(collapsed)
    plain_activation_mb, exact = peak_allocated_mb(plain)
    error = half() - ours
    work = encoder_gflop(plain=False)
    seconds = in_turn(
        {
            "collapsed": (collapsed, 4),
            "square": (rates["square"], 2),
            "linears": (rates["linears"], 2),
            "plain": (plain, 1),
            "bf16": (half, 1),
        },
        rounds,
    )
    square_rate, linear_rate = 2e-9 * SQUARE**3 / seconds["square"], linear_gflop / seconds["linears"]
    return {
        "plain_s": seconds["plain"],
        "collapsed_s": seconds["collapsed"],
        "ratio": seconds["plain"] / seconds["collapsed"],
        "max_abs_diff": (exact - ours).abs().max().item(),
        "embedding_rms": ours.square().mean().sqrt().item(),
        "activation_mb": activation_mb,
        "plain_activation_mb": plain_activation_mb,
        "resident_mb": peak_resident_mb(plain=False),
        "plain_resident_mb": peak_resident_mb(plain=True),
        "gflop": work,
        "plain_gflop": encoder_gflop(plain=True),
        "square_gflop_s": square_rate,
        "linears_gflop_s": linear_rate,
        "floor_share": work / square_rate / seconds["collapsed"],
        "floor_share_own_shapes": work / linear_rate / seconds["collapsed"],
        "bf16_s": seconds["bf16"],
        "bf16_rms_rel": (error.square().mean().sqrt() / ours.square().mean().sqrt()).item(),
        "bf16_max_abs": error.abs().max().item(),
    }


def click_figures(rounds: int) -> dict[str, float | bool]:
    torch.manual_seed(0)
    dim, grid = SIZES.out_channels, SIZES.grid
    decoder = MaskDecoder(SIZES).eval().requires_grad_(False)
    reference = PlainDecoder(decoder)
    cubes = [torch.randn(1, dim, grid, grid, grid) for _ in range(3)]
    args = (cubes[0], cubes[1], torch.randn(1, 2, dim), cubes[2])  # one click: its token and the ignored one
    placed, tokens = cubes[1].flatten(2).mT, torch.randn(1, 7, dim)
    source = cubes[0].flatten(2).mT.contiguous()
    theirs = (cubes[0].flatten(3), cubes[1].flatten(3), tokens)
    low = 4 * torch.randn(1, 1, *[SIZES.low_res] * 3)
    torch_up = lambda: F.interpolate(low, size=[SIZES.image_size] * 3, mode="trilinear")  # noqa: E731
    seconds = in_turn(
        {
            "plain decoder": (lambda: reference(*args), 8),
            "decoder": (lambda: decoder(*args), 8),
            "their transformer": (lambda: reference.transformer(*theirs), 8),
            "transformer": (lambda: decoder.transformer(source, placed, tokens), 8),
            "plain up": (torch_up, 8),
            "up": (lambda: upsample(low, SIZES.image_size), 8),
        },
        3 * rounds,
    )
    return {
        "plain_decoder_ms": 1e3 * seconds["plain decoder"],
        "decoder_ms": 1e3 * seconds["decoder"],
        "decoder_ratio": seconds["plain decoder"] / seconds["decoder"],
        "decoder_max_abs_diff": (reference(*args) - decoder(*args).logits).abs().max().item(),
        "transformer_ratio": seconds["their transformer"] / seconds["transformer"],
        "plain_upsample_ms": 1e3 * seconds["plain up"],
        "upsample_ms": 1e3 * seconds["up"],
        "upsample_ratio": seconds["plain up"] / seconds["up"],
        "upsample_mask_identical": torch.equal(torch_up() > 0, upsample(low, SIZES.image_size) > 0),
    }


def hardware() -> str:
    """Processor, threads and versions in one line."""
    cpu, flags = platform.processor() or platform.machine(), ""
    if (info := Path("/proc/cpuinfo")).exists():
        fields = dict(line.partition(":")[::2] for line in info.read_text().split("\n\n")[0].splitlines())
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        cpu, flags = fields.get("model name", cpu), fields.get("flags", "")
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {unit}" in flags]
    return (
        f"{cpu} ({', '.join(units)}), {threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


TABLE = """\
                                plain      ours
encoder, s                   {plain_s:8.2f}  {collapsed_s:8.3f}   {ratio:.1f}x (bar 12)
  largest difference                   {max_abs_diff:8.1e}   (bar 5e-5) at an rms of {embedding_rms:.2f}
  peak of activations, MB    {plain_activation_mb:8.0f}  {activation_mb:8.0f}   (bar 120)
  rise of resident size, MB  {plain_resident_mb:8.0f}  {resident_mb:8.0f}   cross-check in a fresh process
  GFLOP                      {plain_gflop:8.1f}  {gflop:8.1f}
  share of the matmul floor            {floor_share:8.0%}   (bar 60%) of {square_gflop_s:.0f} GFLOP/s, 4096^3
                                       {floor_share_own_shapes:8.0%}   of {linears_gflop_s:.0f} at its linears
  in bf16, s                           {bf16_s:8.3f}   error: rms {bf16_rms_rel:.2%}, max {bf16_max_abs:.3f}
decoder a click, ms          {plain_decoder_ms:8.1f}  {decoder_ms:8.1f}   {decoder_ratio:.2f}x (bar 1.4)
  largest difference                   {decoder_max_abs_diff:8.1e}
  its transformer alone                           {transformer_ratio:.2f}x segment-anything's
up-sampling, ms              {plain_upsample_ms:8.2f}  {upsample_ms:8.2f}   {upsample_ratio:.1f}x (bar 3)
  mask identical                       {upsample_mask_identical!s:>8}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    parser.add_argument("--resident", choices=["plain", "collapsed"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.threads:
        use_threads(asked.threads)
    if asked.resident:
        with torch.inference_mode():
            print(rise_of_one_encoding_mb(asked.resident == "plain"))
        return
    print(hardware(), flush=True)
    with torch.inference_mode():
        figures = encoder_figures(asked.rounds) | click_figures(asked.rounds)
    print(TABLE.format_map(figures))
    rounded = {k: v if isinstance(v, bool) else float(f"{v:.4g}") for k, v in figures.items()}
    print(json.dumps(rounded))


if __name__ == "__main__":
    main()
