"""How much work each thing is, in counts that no neighbour on the machine can change.

    python -m benchmarks.speed.operations            # print the counts
    python -m benchmarks.speed.operations --renew    # write them to tests/benchmarks/speed/operations.json

Floating-point operations, runs of encoder and decoder, bytes read from disk, bytes that torch's operators
read and write. tests/benchmarks/speed/test_operations.py compares them with what is stored: times on shared
machines prove nothing. Network and scan are small and random; the public model's sizes are counted without
computing.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from benchmarks.cases import ROOT
from benchmarks.speed.encoder import SIZES, encoder_gflop
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.rules.top_k import TopK
from sam_moe.predict.model import Model
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.regions.cut import cut
from sam_moe.predict.regions.where import region_for
from sam_moe.prompts import Point, Prompt
from sam_moe.registry import Preprocessing
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.upsampling import upsample
from sam_moe.space.volume import Volume
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

STORED = ROOT / "tests" / "benchmarks" / "speed" / "operations.json"
TINY = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)
_SHAPE = (96, 90, 72)
_TARGETS = 13
_IO = Path("/proc/self/io")

Counts = dict[str, int]


class Operations(TorchDispatchMode):
    """Counts floating-point operations, by torch's formulas, and the bytes that operators read and write.

    As torch's own FlopCounterMode, but for its bookkeeping by module, which makes a click a hundred times
    slower. Views move nothing; what runs outside torch (NumPy, SciPy, the file libraries) is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if (formula := flop_registry.get(function.overloadpacket)) is not None:
            self.flop += formula(*args, **kwargs, out_val=found)
        if not function.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, Tensor)]
            self.bytes += sum(x.nbytes for x in tensors)
        return found


class Work:
    """What happened inside a `with counted(model)` block."""

    def __init__(self) -> None:
        self.encoder = self.decoder = self.flop = 0

    def named(self, name: str) -> Counts:
        """As rows of the file."""
        return {
            f"{name}: encoder runs": self.encoder,
            f"{name}: decoder runs": self.decoder,
            f"{name}: flop": self.flop,
        }


@contextmanager
def counted(encoder: nn.Module, decoders: list[nn.Module]) -> Iterator[Work]:
    """Count the runs of these modules and all floating-point operations of matrix products."""
    work = Work()

    def encoded(*_: object) -> None:
        work.encoder += 1

    def decoded(*_: object) -> None:
        work.decoder += 1

    hooks = [encoder.register_forward_hook(encoded), *(d.register_forward_hook(decoded) for d in decoders)]
    try:
        with Operations() as operations:
            yield work
        work.flop = operations.flop
    finally:
        for hook in hooks:
            hook.remove()


def counts() -> Counts:
    """Everything that is stored."""
    torch.manual_seed(0)
    return {**of_public_sizes(), **of_clicks(), **of_experts(), **of_files(), **of_resampling()}


def of_public_sizes() -> Counts:
    """One region encoded and one click decoded by the public model, counted on the meta device."""
    dim, grid = SIZES.out_channels, SIZES.grid
    with torch.device("meta"), FlopCounterMode(display=False) as decoding:
        cube = torch.empty(1, dim, grid, grid, grid)
        MaskDecoder(SIZES)(cube, cube, torch.empty(1, 2, dim), cube)
    with Operations() as rising:
        upsample(torch.zeros(1, 1, *[SIZES.low_res] * 3), SIZES.image_size)
    return {
        "public size, encoding: flop": round(1e9 * encoder_gflop(plain=False)),
        "public size, encoding plainly: flop": round(1e9 * encoder_gflop(plain=True)),
        "public size, decoding a click: flop": int(decoding.get_total_flops()),
        "public size, logits to the region: flop": rising.flop,
    }


def tiny() -> SamMed3D:
    """A small model with random weights."""
    torch.manual_seed(5)
    return SamMed3D(TINY).eval().requires_grad_(False)


def opened(network: SamMed3D | SamMed3DMoE, scan: Volume) -> Predictor:
    """A predictor that keeps to one region a prompt: which masks reach further is the weights' doing."""
    preprocessing = Preprocessing(region_voxels=32, spacing_mm=1.5, normalisation="positive", zoom_max=8)
    return Model(
        PromptableSam3D(network, "positive", "mask"), preprocessing, "random", whole_targets=False
    ).open(scan)


def scan_of(shape: tuple[int, int, int] = _SHAPE) -> Volume:
    """Noise on voxels of a millimetre."""
    rng = torch.Generator().manual_seed(1)
    array = torch.randint(0, 1000, shape, dtype=torch.int16, generator=rng)
    return Volume(array, Grid.around((0, 0, 0), shape, (1, 1, 1)))


def near(count: int) -> dict[str, Prompt]:
    """So many targets within two centimetres of the middle, a click each."""
    rng = torch.Generator().manual_seed(2)
    places = (20 * torch.rand(count, 3, generator=rng) - 10).tolist()
    return {f"target {n}": Prompt((Point((x, y, z), space="mm"),)) for n, (x, y, z) in enumerate(places)}


def of_clicks() -> Counts:
    """A first click, a further one, a box, and many targets in one scan."""
    model = tiny()
    predictor = opened(model, scan_of())
    parts = (model.image_encoder, [model.mask_decoder])
    found: Counts = {}
    with counted(*parts) as work:
        predictor.predict(Point((0, 0, 0), space="mm"))
    found |= work.named("first click")
    with counted(*parts) as work:
        predictor.refine(Point((3, 0, 0), space="mm"))
    found |= work.named("further click")
    with counted(*parts) as work:
        predictor.undo()
    found |= work.named("a click taken back")
    predictor = opened(model, scan_of())
    with counted(*parts) as work:
        predictor.predict_targets(near(_TARGETS))
    return found | work.named(f"{_TARGETS} targets close together")


def of_experts() -> Counts:
    """A further click answered by k of E experts."""
    found: Counts = {}
    for count, chosen in ((4, (1,)), (16, (1, 2, 4))):
        backbone = tiny()
        ids = ("general", *(f"expert-{n}" for n in range(count - 1)))
        made = {name: MaskDecoder(TINY).eval().requires_grad_(False) for name in ids[1:]}
        bank = ExpertBank(ids, made.__getitem__, backbone.mask_decoder)
        mixture = SamMed3DMoE(backbone, bank, gating_network(TINY.out_channels, count, hidden=16))
        for k in chosen:
            predictor = opened(mixture.choosing(TopK(k)), scan_of())
            predictor.predict(Point((0, 0, 0), space="mm"))
            with counted(backbone.image_encoder, [backbone.mask_decoder, *made.values()]) as work:
                predictor.refine(Point((3, 0, 0), space="mm"))
            found |= work.named(f"further click by {k} of {count} experts")
    return found


def of_files() -> Counts:
    """Bytes that the system was asked to read for one scan; nothing where there is no /proc.

    Of an uncompressed file: how small a compressed one gets is the library's doing.
    """
    if not _IO.exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii"
        write_volume(path, scan_of())
        read(path)  # what is imported at the first reading is no reading of the scan
        return {
            "a scan in a file: bytes": path.stat().st_size,
            "reading it: bytes": bytes_read(lambda: read(path)),
        }


def bytes_read(run: Callable[[], object]) -> int:
    """By how much the process's count of bytes read grows."""
    before = _bytes_so_far()
    run()
    return _bytes_so_far() - before


def _bytes_so_far() -> int:
    return int(_IO.read_text().split()[1])


def of_resampling() -> Counts:
    """A region cut from a scan, and its mask on the scan: the same on a larger scan but for that mask."""
    found: Counts = {}
    for edge in (128, 256):
        model, scan = tiny(), scan_of((edge, edge, edge))
        predictor = opened(model, scan)
        prompt = Prompt((Point((0, 0, 0), space="mm"),))
        region = region_for(prompt, predictor.model.preprocessing)
        with Operations() as cutting:
            cut(scan, region, predictor.model.preprocessing.spacing_mm, 0.0)
        prediction = predictor.predict(*prompt)
        del prediction.__dict__["mask"]
        with Operations() as restoring:
            prediction.mask  # noqa: B018
        found[f"cutting a region from {edge}^3 voxels: bytes moved"] = cutting.bytes
        found[f"its mask on {edge}^3 voxels: bytes moved"] = restoring.bytes
    return found


def main() -> None:
    """Print or store the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true", help=f"write {STORED.relative_to(ROOT)}")
    asked = parser.parse_args()
    text = json.dumps(counts(), indent=2)
    if asked.renew:
        STORED.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
