"""An expert's card says which backbone it needs, and nothing that does not belong to its kind."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import ExpertCard, read_card, write_card

SHA = "0123456789abcdef" * 4
WEIGHTS = {"file": "decoder.safetensors", "sha256": SHA, "size_bytes": 10, "dtype": "float16"}
LORA = {"rank": 4, "alpha": 8.0, "per_layer": {"output_upscaling.0": 2}}


@pytest.mark.parametrize("kind", ["decoder", "lora", "full", "with a bank"])
def test_each_kind_reads_back_as_it_was_written(tmp_path, kind, placed, card, expert_card):
    changes = {
        "decoder": {},
        "lora": {"expert_kind": "lora", "lora": LORA},
        "full": {"expert_kind": "full", "architecture": card()["architecture"]},
        "with a bank": {"feature_bank": WEIGHTS | {"file": "bank.safetensors"}},
    }[kind]
    first = read_card(placed(tmp_path, expert_card(**changes)))
    assert isinstance(first, ExpertCard)
    write_card(first, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == first


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"expert_kind": "lora"}, r"'lora' is for expert_kind 'lora' alone.*add it"),
        ({"lora": LORA}, r"'lora' is for expert_kind 'lora' alone, and this one is 'decoder'; leave it out"),
        ({"expert_kind": "full"}, r"'architecture' is for expert_kind 'full' alone.*add it"),
        ({"expert_kind": "adapter"}, r"expert_kind: .*'adapter' is unknown\. Known, nearest first: decoder,"),
        ({"settings": {"depth": 2}}, r"expert_kind 'decoder' has no 'settings'; leave them out"),
        ({"system": "sam_med3d"}, r"system: .*'sam_med3d' is unknown\. Known, nearest first: sam_med3d_moe"),
        ({"id": "small"}, r"id 'small' is the base's"),
        ({"covers": []}, r"covers: .*at least 1"),
        ({"format": 2}, r"format: 2 is newer than 1, the newest known here; update sam-moe"),
        ({"base": {"id": "small"}}, r"base\.sha256: missing; add it"),
        ({"weights": WEIGHTS | {"file": "../x"}}, r"weights\.file: '\.\./x' leaves"),
        ({"feature_bank": WEIGHTS}, r"'decoder\.safetensors' is weights\.file"),
        ({"feature_bank": WEIGHTS | {"file": "DECODER.safetensors"}}, r"they are two files"),
        ({"feature_bank": WEIGHTS | {"file": "./decoder.safetensors"}}, r"not a plain name"),
        ({"feature_bank": WEIGHTS | {"file": "card.json"}}, r"is the card itself"),
        ({"feature_bank": WEIGHTS | {"file": "/etc/passwd"}}, r"leaves the card's folder"),
        (
            {"expert_kind": "lora", "lora": LORA | {"per_layer": {"x": 0}}},
            r"lora\.per_layer\.x: .*greater than 0",
        ),
    ],
)
def test_a_bad_card_is_named_with_field_and_remedy(tmp_path, changes, complaint, placed, expert_card):
    path = placed(tmp_path, expert_card(**changes))
    with pytest.raises(CardError, match=complaint) as caught:
        read_card(path)
    assert str(caught.value).startswith(str(path))


def test_the_base_is_named_by_a_whole_checksum(tmp_path, placed, expert_card):
    with pytest.raises(CardError, match=r"base\.sha256: .*pattern"):
        read_card(placed(tmp_path, expert_card(base={"id": "small", "sha256": SHA[:-1]})))
