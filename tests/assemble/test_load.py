"""`sam_moe.load`: the id of a card in, a predictor out."""

import pytest

import sam_moe
from sam_moe.assemble.convert import convert
from sam_moe.errors import CardError, ConfigError

pytestmark = pytest.mark.usefixtures("shipped", "cache")


@pytest.fixture(autouse=True)
def small(shipped, checkpoint):
    pytest.importorskip("sam_moe.predict.predictor")
    return convert(checkpoint, shipped, "small").card


def test_a_model_loads_by_its_id_into_a_predictor():
    assert isinstance(sam_moe.load("small", device="cpu"), sam_moe.Predictor)


def test_without_an_id_the_small_model_that_ships_is_taken(shipped, checkpoint):
    with pytest.raises(CardError, match="no model with id 'sam-med3d-tiny'"):
        sam_moe.load()
    convert(checkpoint, shipped, "sam-med3d-tiny")
    assert isinstance(sam_moe.load(device="cpu"), sam_moe.Predictor)


def test_a_box_strategy_that_is_unknown_or_that_the_weights_cannot_do_is_refused():
    with pytest.raises(ConfigError, match=r"'corner' is unknown\. Known: center, mask, corners"):
        sam_moe.load("small", box_strategy="corner")
    with pytest.raises(ConfigError, match="needs weights with corner embeddings, and small has none"):
        sam_moe.load("small", box_strategy="corners")
