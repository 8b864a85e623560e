"""Converting: one folder with weights and a card comes out, or nothing at all."""

import argparse
import shutil
import time
from dataclasses import asdict

import pytest
import torch

from sam_moe.errors import CardError, FileError, SamMoeError, WeightsError
from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import Attribution, Registry, read_card, write_card
from sam_moe.registry.finding import find_backbone, user_folder
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_metadata, read_state
from tests.files.dying import deaths

pytestmark = pytest.mark.usefixtures("shipped", "cache")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_checkpoint_becomes_a_card_with_weights_that_the_registry_finds(tmp_path, checkpoint):
    made = convert(checkpoint, tmp_path / "out", "mine")
    assert files(tmp_path / "out") == ["mine", "mine/card.json", "mine/model.safetensors"]
    entry = Registry(tmp_path / "out").get("mine")
    assert made.path == entry.path
    assert made.card == entry.card
    assert made.report.ok
    assert entry.card.weights.sha256 == sha256_of(entry.weights_path)
    assert entry.card.weights.size_bytes == entry.weights_path.stat().st_size
    assert fingerprint(load_model(entry.weights_path)) == fingerprint(load_model(checkpoint))
    assert read_metadata(entry.weights_path) == {"source_sha256": sha256_of(checkpoint)}


def test_an_unknown_checkpoint_gets_the_public_models_preprocessing_and_no_invented_licence(checkpoint):
    card = convert(checkpoint).card
    assert card.preprocessing.region_voxels == 16
    assert card.preprocessing.spacing_mm == 1.5
    assert card.preprocessing.normalisation == "positive"
    assert card.default_box_strategy == "mask"
    assert card.licence.startswith("unknown")
    assert card.hub is None


def test_without_a_folder_and_an_id_the_users_folder_and_the_files_name_are_taken(checkpoint):
    made = convert(checkpoint)
    assert made.path == user_folder() / "downloaded-model-1" / "card.json"


def test_weights_with_corner_embeddings_answer_boxes_by_their_corners(tmp_path, corners_state):
    torch.save({"model_state_dict": corners_state}, tmp_path / "boxes.pth")
    card = convert(tmp_path / "boxes.pth").card
    assert card.architecture.corner_embeddings
    assert card.default_box_strategy == "corners"


def test_licence_and_attribution_of_a_card_that_is_handed_in_are_kept(checkpoint):
    credit = Attribution(source="Me", licence="CC-BY-4.0")
    terms = {"licence": "CC-BY-4.0", "attribution": (credit,)}
    known = convert(checkpoint, model_id="first").card.model_copy(update=terms)
    card = read_card(convert(checkpoint, model_id="second", card=known).path)
    assert (card.id, card.licence, card.attribution) == ("second", "CC-BY-4.0", (credit,))


def test_a_file_that_a_shipped_card_names_by_checksum_gets_that_cards_words(checkpoint, shipped, public_card):
    known = public_card(sha256_of(checkpoint))
    (shipped / known.id).mkdir()
    write_card(known, shipped / known.id / "card.json")
    made = convert(checkpoint)
    assert made.path == user_folder() / "public-small" / "card.json"
    assert made.card.weights is not None
    assert made.card.model_copy(update={"weights": None}) == known


def test_equal_checkpoints_give_equal_files(tmp_path, checkpoint):
    first, second = (convert(checkpoint, tmp_path / place, "x").path.parent for place in "ab")
    for name in ("card.json", "model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_is_there_is_replaced_only_by_force(tmp_path, checkpoint, random_state):
    target = convert(checkpoint, tmp_path / "out", "x").path.parent
    (target / "README.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    other = tmp_path / "other.pth"
    torch.save(random_state(), other)
    with pytest.raises(FileError, match=r"already has card\.json and model\.safetensors"):
        convert(other, tmp_path / "out", "x")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    convert(other, tmp_path / "out", "x", force=True)
    assert fingerprint(load_model(target / "model.safetensors")) == fingerprint(load_model(other))
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "card.json", "model.safetensors"]


@pytest.mark.parametrize("model_id", ["../escape", "Upper", "a/b", "/abs"])
def test_an_id_that_is_no_folders_name_is_refused_before_anything_is_written(tmp_path, checkpoint, model_id):
    before = files(tmp_path)
    with pytest.raises(CardError, match="id: "):
        convert(checkpoint, tmp_path / "out", model_id)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.pop("mask_decoder.iou_token.weight"), r"missing: mask_decoder\.iou_token\.weight"),
        (lambda s: s.update(extra=torch.zeros(3)), "extra: unexpected: extra"),
        (lambda s: s["image_encoder.pos_embed"].fill_(float("nan")), r"in image_encoder\.pos_embed"),
        (lambda s: s.update({"mask_decoder.iou_token.weight": torch.zeros(2)}), "is 2 float32, expected"),
        (lambda s: s.update(args=print), "asks for print"),
    ],
)
def test_a_checkpoint_that_does_not_fit_leaves_nothing_behind(tmp_path, state, spoil, complaint):
    spoil(state)
    torch.save({"model_state_dict": state, "args": argparse.Namespace(lr=1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=complaint):
        convert(tmp_path / "x.pth", tmp_path / "out", "x")
    assert files(tmp_path) == ["shipped", "x.pth"]


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path, checkpoint):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(FileError, match="is a file. Expected a folder"):
        convert(checkpoint, tmp_path / "out", "x")
    (tmp_path / "full" / "x" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(SamMoeError, match="is a folder. Expected"):
        convert(checkpoint, tmp_path / "full", "x", force=True)
    assert files(tmp_path / "full") == ["x", "x/model.safetensors"]


@pytest.mark.slow
def test_killed_at_every_second_file_operation_a_model_that_is_replaced_can_be_used(
    tmp_path, checkpoint, random_state
):
    out, other = tmp_path / "out", tmp_path / "other.pth"
    torch.save(random_state(), other)
    known = {fingerprint(load_model(path)) for path in (checkpoint, other)}
    met = set()

    def before():
        shutil.rmtree(out, ignore_errors=True)
        convert(checkpoint, out, "x")

    for _ in deaths(out, lambda: convert(other, out, "x", force=True), before, step=2):
        met.add(fingerprint(load_backbone(find_backbone(out / "x"))))
        convert(other, out, "x", force=True)
        assert files(out) == ["x", "x/card.json", "x/model.safetensors"]
        assert fingerprint(load_backbone(find_backbone(out / "x"))) == fingerprint(load_model(other))
    assert met == known


def test_on_a_full_disk_nothing_is_left(small_disk, checkpoint):
    with pytest.raises(FileError, match=r"cannot be written .*free space"):
        convert(checkpoint, small_disk / "out", "x")
    assert files(small_disk) == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_halves_the_file_and_rounds_to_nearest(tmp_path, checkpoint, state, dtype):
    made = convert(checkpoint, tmp_path / "out", "x", dtype=dtype)
    assert made.card.weights.dtype == dtype
    numbers = sum(tensor.numel() for tensor in state.values())
    header = 8 + int.from_bytes((made.path.parent / "model.safetensors").read_bytes()[:8], "little")
    assert made.card.weights.size_bytes == header + 2 * numbers
    for name, tensor in read_state(made.path.parent / "model.safetensors").items():
        assert torch.equal(tensor, state[name].to(getattr(torch, dtype))), name


def test_numbers_too_large_for_half_precision_are_not_made_infinite(tmp_path, state):
    state["mask_decoder.iou_token.weight"][0, 0] = 70_000.0  # the largest float16 is 65504
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"iou_token\.weight would overflow in float16"):
        convert(tmp_path / "x.pth", dtype="float16")
    assert convert(tmp_path / "x.pth", dtype="bfloat16").report.ok


def test_a_conversion_tells_what_it_did(tmp_path, checkpoint, state):
    made = convert(checkpoint, tmp_path / "out", "mine")
    size = made.card.weights.size_bytes / 1e6
    numbers = sum(tensor.numel() for tensor in state.values())
    assert str(made) == (
        f"mine: all {len(state)} tensors are there and fit; {numbers:,} numbers in float32, {size:.1f} MB; "
        f"boxes by 'mask'; {tmp_path / 'out' / 'mine' / 'card.json'}"
    )


@pytest.mark.slow
def test_the_public_layout_at_full_size_converts_bit_for_bit_in_seconds(tmp_path, generator):
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in SamMed3D(Sizes()).state_dict().items()}
    assert len(shapes) == 324
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    torch.save({"model_state_dict": state}, tmp_path / "full.pth")
    started = time.process_time()  # the processor's time: the machine may be busy
    made = convert(tmp_path / "full.pth")
    assert time.process_time() - started < 20
    # 100,509,232 parameters and the buffer of 3 x 128
    assert made.parameters == 100_509_616
    assert made.card.weights.size_bytes // 100_000 == 4_020
    assert asdict(made.card.architecture) == {
        "image_size": 128,
        "patch_size": 16,
        "embed_dim": 768,
        "depth": 12,
        "num_heads": 12,
        "window_size": 14,
        "global_attn_indexes": (2, 5, 8, 11),
        "out_channels": 384,
        "decoder_mlp_dim": 2048,
        "decoder_heads": 8,
        "decoder_depth": 2,
        "iou_hidden_dim": 256,
        "corner_embeddings": False,
        "encoder": "vit",
        "conv_widths": (),
    }
    model = load_model(made.path.parent / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
