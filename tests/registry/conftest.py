"""Good cards as JSON, for tests to spoil."""

import json
from pathlib import Path

import pytest

from tests.systems.sam_med3d_moe.conftest import cache  # noqa: F401

SHA = "0123456789abcdef" * 4


def make_card(**changes: object) -> dict:
    """A good card as JSON; a change given as a dict goes into the field of that name."""
    data: dict = {
        "format": 1,
        "id": "small",
        "kind": "backbone",
        "title": "A small backbone",
        "architecture": {
            "image_size": 64,
            "patch_size": 16,
            "embed_dim": 96,
            "depth": 4,
            "num_heads": 6,
            "window_size": 14,
            "global_attn_indexes": [1, 3],
            "out_channels": 48,
            "decoder_mlp_dim": 128,
            "iou_hidden_dim": 32,
        },
        "preprocessing": {"region_voxels": 64, "spacing_mm": 1.5, "normalisation": "positive"},
        "weights": {"file": "model.safetensors", "sha256": SHA, "size_bytes": 1000, "dtype": "float16"},
        "licence": "Apache-2.0",
        "not_for": "Clinical use.",
    }
    for field, value in changes.items():
        if isinstance(value, dict) and isinstance(data.get(field), dict):
            data[field] = data[field] | value
        else:
            data[field] = value
    return data


def make_placed(root: Path, data: dict, folder: str | None = None) -> Path:
    path = root / (folder or data["id"]) / "card.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data))
    return path


def make_conv_card(**changes: object) -> dict:
    """The good card's like with a convolutional encoder, which says nothing of heads and windows."""
    vit = {"num_heads", "window_size", "global_attn_indexes"}
    plain = {key: value for key, value in make_card()["architecture"].items() if key not in vit}
    return make_card() | {"architecture": plain | {"encoder": "conv", "conv_widths": [24, 48, 96], **changes}}


def make_expert_card(**changes: object) -> dict:
    """A finetuned decoder on the backbone of `card`."""
    return {
        "format": 1,
        "id": "cord",
        "kind": "expert",
        "expert_kind": "decoder",
        "title": "Spinal cord",
        "base": {"id": "small", "sha256": SHA},
        "covers": [{"structure": "spinal cord", "modality": "CT"}],
        "weights": {"file": "decoder.safetensors", "sha256": SHA, "size_bytes": 10, "dtype": "float16"},
        "licence": "CC-BY-4.0",
        "not_for": "Clinical use.",
    } | changes


def make_gate_card(**changes: object) -> dict:
    """A gate over that backbone and that expert."""
    return {
        "format": 1,
        "id": "gate",
        "kind": "gate",
        "title": "Cord or not",
        "base": {"id": "small", "sha256": SHA},
        "experts": [{"id": "small", "sha256": SHA}, {"id": "cord", "sha256": SHA}],
        "architecture": {"features": 48, "hidden": 16, "columns": 2},
        "selection": "threshold",
        "threshold": 0.5,
        "weights": {"file": "gate.safetensors", "sha256": SHA, "size_bytes": 10, "dtype": "float32"},
        "licence": "Apache-2.0",
    } | changes


def make_automatic_card(**changes: object) -> dict:
    """An automatic model of two data sets, each with an expert of its own."""
    return {
        "format": 1,
        "id": "auto",
        "system": "m4oe",
        "kind": "automatic",
        "title": "Neck and brain",
        "architecture": {
            "host": "conv_unet",
            "image_size": 16,
            "in_channels": 3,
            "widths": [4, 8, 8],
            "site_levels": 2,
            "mlp_ratio": 2,
            "classes": [3, 2],
        },
        "mixture": {"experts": ["ct", "mr"], "scores": "expert", "pooling": "slice", "ungated": 1},
        "sets": [
            {
                "id": "neck",
                "title": "CT of the neck",
                "modality": "CT",
                "expert": "ct",
                "spacing_mm": [2.5, 2.5, 3.0],
                "intensity": {"kind": "window", "low": -100.0, "high": 300.0},
                "labels": [
                    {"name": "cord", "parts": "largest", "refine": "box"},
                    {"name": "larynx", "parts": "all", "refine": "none"},
                ],
                "far": 4.5,
            },
            {
                "id": "brain",
                "title": "T1 MR of the brain",
                "modality": "MR T1",
                "expert": "mr",
                "spacing_mm": [1.0, 1.0, 1.0],
                "intensity": {"kind": "mean"},
                "labels": [{"name": "hippocampus", "parts": "all", "refine": "none"}],
                "far": None,
            },
        ],
        "weights": {"file": "model.safetensors", "sha256": SHA, "size_bytes": 10, "dtype": "float16"},
        "licence": "CC-BY-SA-4.0",
        "not_for": "Clinical use.",
    } | changes


@pytest.fixture
def card():
    """Makes a backbone's card; a change given as a dict goes into the field of that name."""
    return make_card


@pytest.fixture
def conv_card():
    """The same with a convolutional encoder."""
    return make_conv_card


@pytest.fixture
def expert_card():
    """Makes the card of a decoder on that backbone."""
    return make_expert_card


@pytest.fixture
def gate_card():
    """Makes the card of a gate over both."""
    return make_gate_card


@pytest.fixture
def automatic_card():
    """Makes the card of an automatic model."""
    return make_automatic_card


@pytest.fixture
def placed():
    """Writes a card where a registry looks."""
    return make_placed
