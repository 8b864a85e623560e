"""Small models and folders of cards, apart from those that ship."""

import json
import sys
from dataclasses import asdict

import pytest
import torch

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import BackboneCard, ExpertCard, Preprocessing, default_folder
from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone

SMALL = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8)
CORNERS = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)


@pytest.fixture
def random_state(generator):
    """Makes every tensor of a model of the given sizes, filled with seeded noise."""

    def make(sizes=SMALL):
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in SamMed3D(sizes).state_dict().items()}
        return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    return make


@pytest.fixture
def state(random_state):
    return random_state()


@pytest.fixture
def corners_state(random_state):
    return random_state(CORNERS)


@pytest.fixture
def checkpoint(tmp_path, state):
    """A small checkpoint laid out as the public file."""
    path = tmp_path / "Downloaded Model (1).pth"
    torch.save({"model_state_dict": state}, path)
    return path


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An empty folder in the place of the cards that ship."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's folder, not there yet."""
    monkeypatch.setenv("SAM_MOE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def public_card():
    """Makes a card that names a file on the hub by its checksum."""

    def make(sha256):
        return BackboneCard.model_validate(
            {
                "id": "public-small",
                "title": "A small public model",
                "architecture": asdict(SMALL),
                "preprocessing": Preprocessing(region_voxels=16, spacing_mm=2.5, normalisation="mean"),
                "default_box_strategy": "center",
                "hub": {"repo_id": "someone/small", "filename": "small.pth", "sha256": sha256},
                "licence": "Apache-2.0",
                "attribution": ({"source": "Someone", "licence": "Apache-2.0"},),
                "not_for": "Anything but this test.",
            }
        )

    return make


@pytest.fixture(scope="session")
def tiny():
    """The backbone that ships."""
    return load_backbone(find_backbone("tiny", default_folder()))


@pytest.fixture
def finetuned(tiny, generator):
    """The shipped model's tensors with seeded noise on the decoder: what a finetuning leaves."""
    return {
        name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
        if name.startswith("mask_decoder.")
        else tensor.clone()
        for name, tensor in tiny.state_dict().items()
    }


@pytest.fixture
def expert_card():
    """Makes an expert's card on the backbone that ships."""

    def make(**changes):
        fields = {
            "id": "cord",
            "expert_kind": "decoder",
            "title": "Spinal cord",
            "base": {"id": "tiny", "sha256": "0" * 64},
            "covers": ({"structure": "spinal cord", "modality": "CT"},),
            "weights": {"file": "x", "sha256": "0" * 64, "size_bytes": 1, "dtype": "float32"},
            "licence": "CC-BY-NC-4.0",
            "not_for": "Clinical use.",
        }
        return ExpertCard.model_validate(fields | changes)

    return make


@pytest.fixture
def draft(tmp_path):
    """Writes an expert's card as a person would, without checksums."""

    def write(path=None, **changes):
        fields = {
            "id": "cord",
            "title": "Spinal cord",
            "base": {"id": "tiny"},
            "covers": [{"structure": "spinal cord", "modality": "CT"}],
            "licence": "CC-BY-NC-4.0",
            "not_for": "Clinical use.",
        } | changes
        path = path or tmp_path / "draft.json"
        path.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))
        return path

    return write


SCALED = """
from sam_moe.registry import read_draft
from sam_moe.systems.sam_med3d_moe.experts import Converted, Kind
from sam_moe.systems.sam_med3d_moe.experts.decoder import PREFIX, Decoder
from sam_moe.weights.files import read_state


class Scaled(Decoder):
    shows = True

    def recognises(self, state, base):
        return all(name.startswith("scaled.") for name in state)

    def reads(self, source, card):
        if source.suffix != ".scaled":
            return None
        file = source / "half.safetensors"
        state = {name: 2 * tensor for name, tensor in read_state(file).items()}
        return Converted(read_draft(card), file, state)

    def take(self, state, base, settings, where):
        return dict(state)

    def build(self, state, base, card, where):
        named = {PREFIX + name.removeprefix("scaled."): tensor for name, tensor in state.items()}
        return Decoder().build(named, base, card, where)


class Mute(Kind):
    shows = True
    take = Decoder.take
    build = Decoder.build
"""


@pytest.fixture
def other_kinds(request, tmp_path, monkeypatch):
    """Another package's kind: `scaled`, shown by its tensors' names, or `mute`, which claims so."""
    name = getattr(request, "param", "scaled")
    site = tmp_path / "site"
    place = site / "other-1.0.dist-info"
    place.mkdir(parents=True)
    (site / "other_kinds.py").write_text(SCALED)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    point = f"{name} = other_kinds:{name.title()}"
    (place / "entry_points.txt").write_text(f"[sam_moe.expert_kinds]\n{point}\n")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("other_kinds", None)
