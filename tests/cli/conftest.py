"""A folder of cards with one small random model, a phantom as a file, and ways to run the command on them."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

from sam_moe.cli import main
from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import BackboneCard, Weights, write_card
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.phantom import ball
from sam_moe.weights.files import save_weights

ROOT = Path(__file__).resolve().parents[2]
SMALL = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)
PROGRAM = "import sys; from sam_moe.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Ran:
    """How a run ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def remarks(self):
        """What stands on stderr, without the progress that a slow machine gets to see."""
        return "".join(line for line in self.err.splitlines(keepends=True) if not line.endswith(" …\n"))


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """The random model's file, made once."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = SamMed3D(SMALL)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(model.state_dict(), path)
    return path


@pytest.fixture
def cards(tmp_path, monkeypatch, small_weights):
    """A folder of cards in the place of those that ship; the default model is small and random."""
    folder = tmp_path / "cards"
    (folder / DEFAULT_MODEL).mkdir(parents=True)
    weights = folder / DEFAULT_MODEL / "model.safetensors"
    weights.write_bytes(small_weights.read_bytes())
    size = weights.stat().st_size
    card = BackboneCard.model_validate(
        {
            "id": DEFAULT_MODEL,
            "title": "A small random model",
            "architecture": asdict(SMALL),
            # No zooming: what a random model sees always runs into the region's border.
            "preprocessing": {
                "region_voxels": 32,
                "spacing_mm": 2.0,
                "normalisation": "positive",
                "zoom_max": 1.0,
            },
            "default_box_strategy": "corners",
            "weights": Weights(
                file=weights.name, sha256=sha256_of(weights), size_bytes=size, dtype="float32"
            ),
            "licence": "Apache-2.0",
            "attribution": ({"source": "A test", "licence": "CC0-1.0"},),
            "not_for": "Anything but this test.",
        }
    )
    write_card(card, folder / DEFAULT_MODEL / "card.json")
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(folder))
    monkeypatch.setenv("SAM_MOE_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def phantom(generator):
    """A scan of 48 x 48 x 48 voxels of 1.5 mm with a ball near its middle, and the ball's mask."""
    return ball(generator)


@pytest.fixture
def scan(tmp_path, phantom):
    """The phantom as a file."""
    write_volume(tmp_path / "scan.nii.gz", phantom[0])
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def label(tmp_path, phantom):
    """The ball's mask as a file."""
    write_mask(tmp_path / "label.nii.gz", phantom[1].array, phantom[1].grid)
    return tmp_path / "label.nii.gz"


@pytest.fixture
def sam_moe(capsys):
    """Run the command in this process."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def process():
    """Start the command in a process of its own."""

    def start(*words, **options):
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, words)],
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            # Where the tests run in a shell's background, interrupts are ignored, and so by all they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    return start
