"""A model's folder is whole for whoever reads it, or as it was; cards here are a line of text."""

import shutil
from pathlib import Path

import pytest
import torch

from sam_moe.errors import FileError, WeightsError
from sam_moe.files import replace_text, sha256_of
from sam_moe.weights.files import read_metadata, read_state
from sam_moe.weights.placing import BESIDE, CardFile, cast, id_of, place
from tests.files.dying import deaths

FIRST, SECOND = {"a": torch.zeros(3)}, {"a": torch.ones(4), "b": torch.ones(2)}


def named(path: Path) -> str | None:
    return path.read_text().split()[0] if path.exists() else None


CARD = CardFile(
    "card.txt",
    lambda stored, path: replace_text(path, f"{stored.file} {stored.sha256} {stored.size_bytes}"),
    named,
)


def put(state, target, force=False):
    return place(state, target, CARD, {"from": "here"}, force)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def read_back(target: Path) -> dict[str, list[float]]:
    """What the card of a folder leads to, checked against its checksum."""
    name, checksum, size = (target / "card.txt").read_text().split()
    assert sha256_of(target / name) == checksum
    assert (target / name).stat().st_size == int(size)
    return {name: tensor.tolist() for name, tensor in read_state(target / name).items()}


def test_a_new_model_is_a_folder_of_two_files(tmp_path):
    stored = put(FIRST, tmp_path / "cards" / "x")
    assert files(tmp_path / "cards" / "x") == ["card.txt", "model.safetensors"]
    assert stored.file == "model.safetensors"
    assert read_back(tmp_path / "cards" / "x") == {"a": [0, 0, 0]}
    assert read_metadata(tmp_path / "cards" / "x" / stored.file) == {"from": "here"}


def test_another_takes_its_place_by_force_alone(tmp_path):
    put(FIRST, tmp_path / "x")
    with pytest.raises(FileError, match=r"x: already has card\.txt and model\.safetensors"):
        put(SECOND, tmp_path / "x")
    assert read_back(tmp_path / "x") == {"a": [0, 0, 0]}
    put(SECOND, tmp_path / "x", force=True)
    assert read_back(tmp_path / "x") == {"a": [1, 1, 1, 1], "b": [1, 1]}
    assert files(tmp_path / "x") == ["card.txt", "model.safetensors"]


@pytest.mark.slow
def test_killed_at_any_file_operation_a_new_model_is_whole_or_not_there(tmp_path):
    out = tmp_path / "out"
    for _ in deaths(out, lambda: put(FIRST, out / "x"), lambda: shutil.rmtree(out, True)):
        if (out / "x").exists():
            assert read_back(out / "x") == {"a": [0, 0, 0]}
            assert files(out / "x") == ["card.txt", "model.safetensors"]
        put(SECOND, out / "x", force=True)
        assert files(out) == ["x"]
        assert files(out / "x") == ["card.txt", "model.safetensors"]


@pytest.mark.slow
def test_killed_at_any_file_operation_the_card_names_whole_weights(tmp_path):
    out = tmp_path / "out"
    met = []

    def before():
        shutil.rmtree(out, ignore_errors=True)
        put(FIRST, out / "x")

    for _ in deaths(out, lambda: put(SECOND, out / "x", force=True), before):
        met.append(len(read_back(out / "x")))
        put(SECOND, out / "x", force=True)
        assert files(out / "x") == ["card.txt", "model.safetensors"]
    assert met == sorted(met), "first the old model, from some step on the new one"
    assert set(met) == {1, 2}


def test_a_card_that_cannot_be_written_leaves_no_folders_behind(tmp_path):
    def fail(stored, path):
        raise FileError("full")

    with pytest.raises(FileError, match="full"):
        place(FIRST, tmp_path / "a" / "b" / "x", CardFile("card.txt", fail, named), {})
    assert files(tmp_path) == []


def test_weights_that_were_left_beside_are_removed(tmp_path):
    put(FIRST, tmp_path / "x")
    (tmp_path / "x" / BESIDE).write_bytes(b"left")
    with pytest.raises(FileError):
        put(SECOND, tmp_path / "x")
    assert files(tmp_path / "x") == ["card.txt", "model.safetensors"]


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Swin UNet (2).pth", "swin-unet-2"),
        ("a.b_c-d.safetensors", "a.b_c-d"),
        ("..pth", "converted"),
        ("Ü.pt", "converted"),
    ],
)
def test_an_id_is_made_of_what_a_files_name_has_of_letters(name, id):
    assert id_of(Path(name)) == id


def test_numbers_too_large_for_their_new_kind_are_named():
    state = {"small": torch.tensor([1.0]), "large": torch.tensor([1e5])}
    with pytest.raises(WeightsError, match=r"x\.pth: large would overflow in float16"):
        cast(state, "float16", Path("x.pth"))
    assert {name: t.dtype for name, t in cast(state, "bfloat16", Path("x")).items()} == dict.fromkeys(
        state, torch.bfloat16
    )
