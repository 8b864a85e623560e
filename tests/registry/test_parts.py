"""What cards are made of is checked by itself."""

import json
from dataclasses import asdict, fields

import pytest
from pydantic import ValidationError

from sam_moe.config import Record, check_json
from sam_moe.errors import CardError
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import Architecture, Preprocessing, Weights

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize("file", ["../x", "/x", "C:\\x", "C:/x", "a/../../x", "a\\b"])
def test_weights_lie_in_the_cards_folder(file):
    with pytest.raises(ValidationError, match="leaves the card's folder"):
        Weights(file=file, sha256=SHA, size_bytes=1, dtype="float32")


UNPLAIN = ["./x", "a/./x", "a//b", "x/", "..x/..", ".x", "a/.x"]
UNPLAIN += ["a\0b", "a\nb", "a\x7fb", "\ud800", "\u202ex"]


@pytest.mark.parametrize("file", [*UNPLAIN, "x" * 256, "é" * 128], ids=repr)
def test_a_file_is_named_in_the_plainest_way_or_refused(file):
    with pytest.raises(ValidationError, match="(is not a plain name|leaves the card's folder|valid string)"):
        Weights(file=file, sha256=SHA, size_bytes=1, dtype="float32")


@pytest.mark.parametrize("file", ["card.json", "CARD.JSON", "Card.json"])
def test_no_weights_take_the_cards_own_place(file):
    with pytest.raises(ValidationError, match="is the card itself"):
        Weights(file=file, sha256=SHA, size_bytes=1, dtype="float32")


def test_weights_may_lie_deeper_in_the_cards_folder():
    assert (
        Weights(file="a/b.safetensors", sha256=SHA, size_bytes=1, dtype="float32").file == "a/b.safetensors"
    )


def test_a_click_is_zoomed_within_the_limits():
    with pytest.raises(
        ValidationError, match=r"click_zoom 9\.0 must lie between zoom_min 1\.0 and zoom_max 8\.0"
    ):
        Preprocessing(region_voxels=8, spacing_mm=1.0, normalisation="mean", click_zoom=9.0)


def test_a_region_is_a_cube_of_one_number_or_has_three_and_is_written_as_it_was_read():
    for given, shape in ((8, (8, 8, 8)), ((256, 256, 1), (256, 256, 1))):
        found = Preprocessing(region_voxels=given, spacing_mm=1.0, normalisation="mean")
        assert found.region_shape == shape
        assert Preprocessing.model_validate_json(found.model_dump_json()) == found
        assert json.loads(found.model_dump_json())["region_voxels"] == (
            given if given == 8 else [256, 256, 1]
        )


@pytest.mark.parametrize("wrong", [0, (8, 8), (8, 8, 0), 8.5])
def test_a_region_of_no_voxels_or_of_two_axes_is_refused(wrong):
    with pytest.raises(ValidationError, match="region_voxels"):
        Preprocessing(region_voxels=wrong, spacing_mm=1.0, normalisation="mean")


class Holder(Record):
    """Something with an architecture, as a card is."""

    architecture: Architecture


PUBLIC = json.loads(json.dumps(asdict(Sizes())))


def test_a_cards_architecture_is_the_networks_own_record():
    found = Holder.model_validate_json(json.dumps({"architecture": PUBLIC}), strict=True)
    assert type(found.architecture) is Sizes and found.architecture == Sizes()
    assert found.model_dump(mode="json") == {"architecture": PUBLIC}
    stated = {key: PUBLIC[key] for key in Sizes.stated()}
    assert Holder.model_validate_json(json.dumps({"architecture": stated}), strict=True) == found


@pytest.mark.parametrize("size", Sizes.stated())
def test_no_default_stands_for_a_size_that_a_card_must_state(size):
    lacking = {key: value for key, value in PUBLIC.items() if key != size}
    description = next(f.metadata["description"] for f in fields(Sizes) if f.name == size)
    with pytest.raises(CardError, match=rf"architecture\.{size}: missing; add it \({description}\)"):
        check_json(Holder, {"architecture": lacking}, "x", CardError)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"depth": "12"}, r"architecture\.depth: .*valid integer"),
        ({"depth": 0}, r"architecture\.depth: .*greater than 0"),
        ({"window_size": -1}, r"architecture\.window_size: .*greater than -1"),
        ({"encoder": "cnn"}, r"architecture\.encoder: .*'vit' or 'conv'"),
        ({"num_head": 3}, r"architecture\.num_head: unknown key; did you mean 'num_heads'\?"),
        ({"patch_size": 15}, "architecture: image_size 128 must be a multiple of patch_size 15"),
    ],
)
def test_an_architecture_is_checked_as_strictly_as_all_of_a_card(changes, complaint):
    with pytest.raises(CardError, match=complaint):
        check_json(Holder, {"architecture": PUBLIC | changes}, "x", CardError)
