"""The stages of a click at the public model's size, from the file to the file, each against the plain way."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK
import torch
import torchio
from torch.utils.flop_counter import FlopCounterMode

import sam_moe
from benchmarks.speed.encoder import SIZES, encoder_gflop
from benchmarks.speed.rows import Task
from benchmarks.speed.sections.public_script import PublicScript, restored_everywhere
from benchmarks.speed.sections.scans import LARGE, ORDINARY, clicks, public_model, scene
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.normalise import normalise
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.regions.cut import cut
from sam_moe.predict.regions.where import region_for
from sam_moe.prompts import Point, Prompt
from sam_moe.space.files import read, write_mask
from sam_moe.space.upsampling import upsample

tio: Any = torchio
sitk: Any = SimpleITK

STAGES = "stages of a click at public size, 512x512x300 voxels of int16"
WAITING = "what a user waits for"

_TORCHIO = "torchio's reading"
_CHAIN = "torchio's Resample, ToCanonical, CropOrPad, ZNormalization of scan and label, as the public script"
_PADDED = "padded attention, as the reference"
_BLOCKS = "segment-anything's blocks, transposed convolutions, all four masks"
_EVERYWHERE = "SimpleITK's linear interpolation at every voxel of the scan"
_SCRIPT = "the public script's way from the scan in memory to the mask on its grid"


def decoder_gflop() -> float:
    """One click's, counted on the meta device."""
    dim, grid = SIZES.out_channels, SIZES.grid
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        cube = torch.empty(1, dim, grid, grid, grid)
        MaskDecoder(SIZES)(cube, cube, torch.empty(1, 2, dim), cube)
    return counter.get_total_flops() / 1e9


def stages(folder: Path) -> Iterator[Task]:
    """Every stage by itself."""
    large, ordinary = scene(folder, *LARGE, "large.nii"), scene(folder, *ORDINARY, "ordinary.nii.gz")
    model, image = public_model(), tio.ScalarImage(large.path)
    image.load()
    network = model.network.module
    script = PublicScript(network)
    first = clicks(1)[0]
    region = region_for(Prompt((first,)), model.preprocessing)
    scan_mb, region_mb = 2e-6 * large.voxels, 4e-6 * 128**3
    seen_mb = 2e-6 * (192 / 0.75) ** 2 * (192 / 1.5)

    def cut_and_normalise() -> torch.Tensor:
        return normalise(cut(large.volume, region, 1.5, 0.0), "positive")

    yield Task(
        "reading .nii", lambda: read(large.path), lambda: tio.ScalarImage(large.path).load(), _TORCHIO,
        moved_mb=2 * scan_mb,
    )  # fmt: skip
    yield Task(
        "reading .nii.gz, 256x256x128", lambda: read(ordinary.path),
        lambda: tio.ScalarImage(ordinary.path).load(), _TORCHIO,
        moved_mb=2e-6 * ordinary.voxels,
    )  # fmt: skip
    yield Task(
        "taking up: checks and fingerprint", lambda: model.open(large.volume), moved_mb=scan_mb,
        note="what makes the cache and the record exact; the plain way has none",
    )  # fmt: skip
    yield Task(
        "resampling to the region, normalising", cut_and_normalise,
        lambda: script.prepare(image, first.at), _CHAIN, moved_mb=seen_mb + region_mb, bar_s=0.1,
    )  # fmt: skip
    with torch.inference_mode():
        normal = cut_and_normalise()[None, None]
        embedding = network.encode(normal)
        at = torch.full((1, 1, 3), 64.0)
        zeros = torch.zeros(1, 1, 32, 32, 32)
        tokens = network.encode_prompt(at, torch.ones(1, 1, dtype=torch.long), None, zeros)
        low = network.decode(embedding, tokens)[0, 0]
    half = without_gradients(lambda: network.encode(normal, torch.bfloat16))
    yield Task(
        "encoding", without_gradients(lambda: network.encode(normal)), lambda: script.encode(normal),
        _PADDED, gflop=encoder_gflop(plain=False), bar=12,
    )  # fmt: skip
    yield Task("encoding in bf16", half, gflop=encoder_gflop(plain=False), repeats=1)
    yield Task(
        "decoding a click", without_gradients(lambda: network.decode(embedding, tokens)),
        without_gradients(lambda: script.decode(embedding, at, zeros)), _BLOCKS,
        gflop=decoder_gflop(), bar=1.4, plain_rounds=99,
    )  # fmt: skip
    yield Task(
        "logits to the region", lambda: upsample(low, 128), lambda: script.upsample(low[None, None]),
        "torch's trilinear interpolation", moved_mb=region_mb, bar=3, plain_rounds=99,
    )  # fmt: skip
    found = model.open(large.volume).predict(first)
    probability = found.answer.array.numpy()

    def restore() -> object:
        return Prediction(found.answer, found.grid, found.prompt, found.region, "random", False).mask

    yield Task(
        "restoring to 512x512x300", restore,
        lambda: restored_everywhere(probability, region.affine, large.volume.grid), _EVERYWHERE,
        moved_mb=region_mb + 1e-6 * large.voxels, bar_s=0.1,
    )  # fmt: skip
    mask, out = found.mask, folder / "mask.nii.gz"
    stored = sitk.GetImageFromArray(mask.numpy().transpose(2, 1, 0))
    yield Task(
        "writing .nii.gz", lambda: write_mask(out, mask, found.grid),
        lambda: sitk.WriteImage(stored, str(folder / "plain.nii.gz")), "SimpleITK's writing",
        moved_mb=1e-6 * large.voxels,
    )  # fmt: skip


def waiting(folder: Path) -> Iterator[Task]:
    """Clicks on a scan that is open, whole: from the prompt to the mask on the scan's grid."""
    large = scene(folder, *LARGE, "large.nii")
    image = tio.ScalarImage(large.path)
    image.load()
    public, small = public_model(), sam_moe.load("small", device="cpu")
    small = replace(small, whole_targets=False)
    script = PublicScript(public.network.module)
    at = [click.at for click in clicks(2)]

    def whole(count: int) -> None:
        region = script.prepare(image, at[0])
        mask = script.answer(script.encode(region.image.data[None]), region, at[:count])
        script.restore(mask, region.image.affine, image)

    ready = script.prepare(image, at[0])
    with torch.inference_mode():
        embedding = public.network.module.encode(ready.image.data[None].float())
    for name, model in (("public size", public), ("small", small)):
        predictor = model.open(large.volume)
        is_public = model is public
        yield Task(
            f"{name}: first click", lambda p=predictor: p.predict(clicks(1)[0]),  # type: ignore[misc]
            (lambda: whole(1)) if is_public else None, _SCRIPT if is_public else "",
            before=lambda p=predictor: forget(p),  # type: ignore[misc]
        )  # fmt: skip
        yield Task(
            f"{name}: cached click", lambda p=predictor: p.refine(clicks(2)[1]),  # type: ignore[misc]
            (lambda: script.restore(script.answer(embedding, ready, at), ready.image.affine, image))
            if is_public else None,
            "two clicks decoded and the mask restored as the public script does" if is_public else "",
            before=lambda p=predictor: one_click(p),  # type: ignore[misc]
        )  # fmt: skip


def without_gradients(run: Any) -> Any:
    """The same under `torch.inference_mode`."""
    return torch.inference_mode()(run)


def forget(predictor: Predictor) -> None:
    """Let go of all embeddings, so that the next click encodes."""
    predictor.cache = EmbeddingCache()


def one_click(predictor: Predictor) -> None:
    """Be where one click has been answered."""
    while len(predictor.prompt) > 1:
        predictor.undo()
    if not len(predictor.prompt):
        first: Point = clicks(1)[0]
        predictor.predict(first)
