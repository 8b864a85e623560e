"""A backbone's card comes back equal; what does not agree in it is named."""

import json

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import BackboneCard, Registry, read_card, write_card

SHA = "0123456789abcdef" * 4


def test_a_card_reads_back_as_it_was_written(tmp_path, card):
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


def test_the_public_sizes_are_the_decoder_defaults(card):
    plain = BackboneCard.model_validate(card())
    assert (plain.architecture.decoder_heads, plain.architecture.decoder_depth) == (8, 2)
    assert (plain.preprocessing.zoom_min, plain.preprocessing.zoom_max) == (1, 8)
    assert not plain.architecture.corner_embeddings


def test_a_convolutional_encoder_needs_no_heads_and_a_card_is_a_vits_unless_it_says_otherwise(
    tmp_path, card, conv_card
):
    conv = BackboneCard.model_validate_json(json.dumps(conv_card())).architecture
    assert (conv.encoder, conv.conv_widths, conv.patch_size) == ("conv", (24, 48, 96), 16)
    vit = BackboneCard.model_validate(card()).architecture
    assert (vit.encoder, vit.conv_widths, vit.num_heads) == ("vit", (), 6)
    written = BackboneCard.model_validate(conv_card())
    write_card(written, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == written


@pytest.mark.parametrize(
    ("make", "changes", "complaint"),
    [
        (
            "card",
            {"format": 2},
            r"card\.json: format: 2 is newer than 1, the newest known here; update sam-moe",
        ),
        ("card", {"licens": "MIT"}, r"card\.json: licens: unknown key; did you mean 'licence'\?"),
        (
            "card",
            {"architecture": {"embeddim": 1}},
            r"architecture\.embeddim: unknown key; did you mean 'embed_dim'\?",
        ),
        (
            "card",
            {"architecture": {"patch_size": 24}},
            r"architecture: image_size 64 must be a multiple of patch_size 24",
        ),
        (
            "card",
            {"architecture": {"num_heads": 5}},
            r"architecture: embed_dim 96 must be a multiple of num_heads 5",
        ),
        (
            "card",
            {"architecture": {"global_attn_indexes": [4]}},
            r"architecture: global_attn_indexes \(4,\) .* 0 to 3",
        ),
        (
            "conv_card",
            {"conv_widths": [24, 48]},
            r"architecture: patch_size 16 must be 8, as the encoder halves the region .* once more",
        ),
        ("conv_card", {"patch_size": 8}, r"architecture: patch_size 8 must be 16, as the encoder halves"),
        ("card", {"architecture": {"encoder": "mlp"}}, r"architecture\.encoder: .*'vit' or 'conv'"),
        ("card", {"architecture": {"depth": "4"}}, r"architecture\.depth: .*valid integer, not '4'"),
        (
            "card",
            {"preprocessing": {"region_voxels": 128}},
            r"region_voxels 128 must equal architecture\.image_size 64",
        ),
        (
            "card",
            {"preprocessing": {"region_voxels": [64, 64, 1]}},
            r"region_voxels \(64, 64, 1\) must equal architecture\.image_size 64",
        ),
        (
            "card",
            {"preprocessing": {"normalisation": "max"}},
            r"preprocessing\.normalisation: .*'positive' or 'mean'",
        ),
        (
            "card",
            {"preprocessing": {"zoom_min": 2.0}},
            r"preprocessing: click_zoom 1\.0 must lie between zoom_min 2\.0",
        ),
        (
            "card",
            {"weights": {"file": "../other.safetensors"}},
            r"weights\.file: '\.\./other.* leaves the card's folder",
        ),
        (
            "card",
            {"weights": {"file": "/etc/passwd"}},
            r"weights\.file: '/etc/passwd' leaves the card's folder",
        ),
        ("card", {"weights": {"file": "a\\..\\b"}}, r"weights\.file: .* leaves the card's folder"),
        ("card", {"weights": {"sha256": "abc"}}, r"weights\.sha256: .*pattern"),
        ("card", {"weights": None}, r"a backbone needs 'weights' .* or 'hub'"),
        ("card", {"default_box_strategy": "corners"}, r"'corners' needs weights with corner embeddings"),
        ("card", {"kind": "router"}, r"kind: 'router' is none of 'backbone', 'expert', 'gate', 'automatic'"),
        ("card", {"kind": ["gate"]}, r"kind: \['gate'\] is none of"),
    ],
)
def test_a_bad_card_is_named_with_field_and_remedy(request, tmp_path, placed, make, changes, complaint):
    path = placed(tmp_path, request.getfixturevalue(make)(**changes))
    with pytest.raises(CardError, match=complaint) as caught:
        Registry(tmp_path).list()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
