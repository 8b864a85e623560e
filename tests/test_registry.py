"""Cards come back equal; a bad card is an error that names file, field and remedy; none is skipped."""

import json
import os
from pathlib import Path

import pytest

from sam_moe import registry
from sam_moe.errors import CardError
from sam_moe.registry import BackboneCard, Registry, read_card, write_card

SHA = "0123456789abcdef" * 4


def card(**changes: object) -> dict:
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


def placed(root: Path, data: dict, folder: str | None = None) -> Path:
    path = root / (folder or data["id"]) / "card.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data))
    return path


def test_a_card_reads_back_as_it_was_written(tmp_path):
    full = BackboneCard.model_validate(
        card(
            hub={"repo_id": "owner/name", "filename": "a.pth", "sha256": SHA, "revision": "main"},
            attribution=[{"source": "a set", "licence": "CC-BY-4.0", "note": "cropped"}],
            made_by={"command": "sam-moe pretrain r.yaml", "seeds": [1, 2], "hours": 1.5, "data": ["a set"]},
            measured=[
                {"metric": "Dice", "value": 0.8, "data": "12 cases", "protocol": "1 click", "cases": 12}
            ],
        )
    )
    write_card(full, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == full


def test_the_public_sizes_are_the_decoder_defaults():
    plain = BackboneCard.model_validate(card())
    assert (plain.architecture.decoder_heads, plain.architecture.decoder_depth) == (8, 2)
    assert (plain.preprocessing.zoom_min, plain.preprocessing.zoom_max) == (1, 8)
    assert not plain.architecture.corner_embeddings


def conv_card(**changes: object) -> dict:
    """The good card's like with a convolutional encoder, which says nothing of heads and windows."""
    vit = {"num_heads", "window_size", "global_attn_indexes"}
    plain = {key: value for key, value in card()["architecture"].items() if key not in vit}
    return card() | {"architecture": plain | {"encoder": "conv", "conv_widths": [24, 48, 96], **changes}}


def test_a_convolutional_encoder_needs_no_heads_and_a_card_is_a_vits_unless_it_says_otherwise(tmp_path):
    conv = BackboneCard.model_validate_json(json.dumps(conv_card())).architecture
    assert (conv.encoder, conv.conv_widths, conv.patch_size) == ("conv", (24, 48, 96), 16)
    vit = BackboneCard.model_validate(card()).architecture
    assert (vit.encoder, vit.conv_widths, vit.num_heads) == ("vit", (), 6)
    written = BackboneCard.model_validate(conv_card())
    write_card(written, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == written


def test_entries_know_their_folder_and_their_weights(tmp_path):
    placed(tmp_path, card())
    entry = Registry(tmp_path).get("small")
    assert entry.card.title == "A small backbone"
    assert entry.path == tmp_path / "small" / "card.json"
    assert entry.weights_path == tmp_path / "small" / "model.safetensors"


def test_a_card_of_a_public_file_needs_no_weights_beside_it(tmp_path):
    data = card(hub={"repo_id": "owner/name", "filename": "a.pth", "sha256": SHA})
    del data["weights"]
    placed(tmp_path, data)
    assert Registry(tmp_path).get("small").weights_path is None


def test_cards_are_listed_by_id(tmp_path):
    for name in ("b", "a", "c"):
        placed(tmp_path, card(id=name))
    (tmp_path / "README.md").write_text("not a card")
    assert [entry.card.id for entry in Registry(tmp_path).list()] == ["a", "b", "c"]


def test_an_unknown_id_is_told_the_known_ones_nearest_first(tmp_path):
    for name in ("aaa", "tiny", "zebra"):
        placed(tmp_path, card(id=name))
    with pytest.raises(CardError, match=r"no card with id 'tniy'\. Known, nearest first: tiny, "):
        Registry(tmp_path).get("tniy")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (card(format=2), r"card\.json: format: 2 is newer than 1, the newest known here; update sam-moe"),
        (card(licens="MIT"), r"card\.json: licens: unknown key; did you mean 'licence'\?"),
        (
            card(architecture={"embeddim": 1}),
            r"architecture\.embeddim: unknown key; did you mean 'embed_dim'\?",
        ),
        (
            card(architecture={"patch_size": 24}),
            r"architecture: image_size 64 must be a multiple of patch_size 24",
        ),
        (
            card(architecture={"num_heads": 5}),
            r"architecture: embed_dim 96 must be a multiple of num_heads 5",
        ),
        (
            card(architecture={"global_attn_indexes": [4]}),
            r"architecture: global_attn_indexes \(4,\) .* 0 to 3",
        ),
        (
            conv_card(conv_widths=[24, 48]),
            r"architecture: patch_size 16 must be 8, as the encoder halves the region .* once more",
        ),
        (conv_card(patch_size=8), r"architecture: patch_size 8 must be 16, as the encoder halves"),
        (card(architecture={"encoder": "mlp"}), r"architecture\.encoder: .*'vit' or 'conv'"),
        (card(architecture={"depth": "4"}), r"architecture\.depth: .*valid integer, not '4'"),
        (
            card(preprocessing={"region_voxels": 128}),
            r"region_voxels 128 must equal architecture\.image_size 64",
        ),
        (
            card(preprocessing={"normalisation": "max"}),
            r"preprocessing\.normalisation: .*'positive' or 'mean'",
        ),
        (
            card(preprocessing={"zoom_min": 2.0}),
            r"preprocessing: click_zoom 1\.0 must lie between zoom_min 2\.0",
        ),
        (
            card(weights={"file": "../other.safetensors"}),
            r"weights\.file: '\.\./other.* leaves the card's folder",
        ),
        (card(weights={"file": "/etc/passwd"}), r"weights\.file: '/etc/passwd' leaves the card's folder"),
        (card(weights={"file": "a\\..\\b"}), r"weights\.file: .* leaves the card's folder"),
        (card(weights={"sha256": "abc"}), r"weights\.sha256: .*pattern"),
        (card(weights=None), r"a backbone needs 'weights' .* or 'hub'"),
        (card(default_box_strategy="corners"), r"'corners' needs weights with corner embeddings"),
        (card(kind="gate"), r"kind: .*'backbone'"),
    ],
)
def test_a_bad_card_is_named_with_field_and_remedy(tmp_path, data, complaint):
    path = placed(tmp_path, data)
    with pytest.raises(CardError, match=complaint) as caught:
        Registry(tmp_path).list()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_one_bad_card_is_not_skipped_when_another_is_asked_for(tmp_path):
    placed(tmp_path, card())
    placed(tmp_path, card(id="other", format=7))
    with pytest.raises(CardError, match=r"other.card\.json: format: 7"):
        Registry(tmp_path).get("small")


def test_two_cards_with_one_id_are_both_named(tmp_path):
    placed(tmp_path, card())
    placed(tmp_path, card(), folder="copy")
    with pytest.raises(CardError, match=r"'small' is already taken by .*copy.card\.json"):
        Registry(tmp_path).list()


def test_a_folder_must_be_called_what_its_card_says(tmp_path):
    placed(tmp_path, card(), folder="renamed")
    with pytest.raises(CardError, match=r"id: 'small' is not its folder's name 'renamed'"):
        Registry(tmp_path).list()


def test_weights_that_link_out_of_the_folder_are_refused(tmp_path):
    path = placed(tmp_path / "cards", card())
    (tmp_path / "secret").write_text("x")
    (path.parent / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(CardError, match=r"weights\.file: 'model\.safetensors' links out of the folder"):
        Registry(tmp_path / "cards").list()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CardError, match=r"absent: no such folder"):
        Registry(tmp_path / "absent")


def test_the_environment_chooses_the_folder(tmp_path, monkeypatch):
    placed(tmp_path, card())
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path))
    assert [entry.card.id for entry in Registry().list()] == ["small"]
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path / "absent"))
    with pytest.raises(CardError, match=r"SAM_MOE_CHECKPOINTS=.*absent: no such folder"):
        Registry()


def test_every_card_that_ships_is_good():
    shipped = Path(registry.__file__).parents[1] / "checkpoints"
    if not shipped.is_dir():
        pytest.skip("no checkpoints/ folder in this tree yet")
    entries = Registry(shipped).list()
    assert {entry.folder.name for entry in entries} == {p.name for p in os.scandir(shipped) if p.is_dir()}
    for entry in entries:
        if entry.card.weights is not None:
            assert entry.weights_path.stat().st_size == entry.card.weights.size_bytes
