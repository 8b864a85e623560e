"""What cards are made of is checked by itself."""

import json

import pytest
from pydantic import ValidationError

from sam_moe.registry import Preprocessing, Weights

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
