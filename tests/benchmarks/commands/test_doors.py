"""Every door leads through at the reduced kin of the public model, on real scans, by the command line."""

import pytest

from benchmarks.commands import doors as measured
from benchmarks.commands import doors_walk as walk
from sam_moe.cli import main
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import read_card
from sam_moe.space.files import read
from sam_moe.weights.files import read_state

ID, KIN, PUBLIC = walk.ID, walk.KIN, walk.PUBLIC


@pytest.mark.slow
def test_every_door_leads_through_at_the_kin_of_the_public_model(tmp_path, monkeypatch, capsys):
    """The whole walk in one test: each door needs what those before it made."""
    place = walk.lay_out(tmp_path, KIN)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    output = {}
    for door in walk.doors(place):
        code = main(list(door.words))
        output[door.name], remarks = capsys.readouterr()
        assert code == 0, f"{door.name}: {' '.join(door.words)}\n{remarks}"
        assert door.made.exists(), door.name
    base = read_card(tmp_path / "cache" / "checkpoints" / ID / "card.json")
    assert (base.default_box_strategy, base.architecture.corner_embeddings) == ("mask", False)
    assert (base.preprocessing.spacing_mm, base.preprocessing.normalisation) == (1.5, "positive")
    for mask in (tmp_path / "out").glob("*.nii.gz"):
        which = "mr" if "two-targets" in mask.name or "encoder" in mask.name else "ct"
        assert read(mask).array.shape == read(place.data / which / "scan.nii.gz").array.shape
    assert "a box drawn as a mask" in output["finetune: decoder"]
    assert "corners" not in output["finetune: decoder"] + output["finetune: lora"]
    assert read_card(place.run("lora") / "card.json").lora.rank == 2
    assert all(name in output["experts check"] for name in ("decoder", "lora", "tuned", "full", "adapter"))
    gate = read_card(tmp_path / "cache" / "checkpoints" / "grown" / "card.json")
    assert [ref.id for ref in gate.experts] == [ID, "decoder", "lora", "adapter"]
    onward = read_card(place.run("onward") / "card.json")
    assert onward.architecture == base.architecture and onward.preprocessing == base.preprocessing
    learnt, first = read_state(place.run("onward") / "model.safetensors"), read_state(tmp_path / "public.pth")
    apart = [float((learnt[name] - tensor).abs().max()) for name, tensor in first.items()]
    assert 0 < max(apart) < 0.02  # two steps of at most 1e-3, averaged: it did begin there
    assert " s a sample" in measured.details_of(place.run("decoder"))


def test_the_full_size_is_the_public_models_and_the_kin_keeps_its_layout():
    """Of 324 tensors with 100,509,232 parameters, as tests/hosts/sam3d/test_reference.py has it."""
    assert PUBLIC.sizes == Sizes()
    for size in ("image_size", "patch_size", "window_size", "decoder_heads", "corner_embeddings", "encoder"):
        assert getattr(KIN.sizes, size) == getattr(PUBLIC.sizes, size)
