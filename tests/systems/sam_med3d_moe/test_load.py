"""`sam_moe.load`: the id of a card in, an immutable model out."""

import shutil

import numpy as np
import pytest
import torch

import sam_moe
from sam_moe.errors import CardError, ConfigError
from sam_moe.systems.sam_med3d_moe.cards.convert import convert

pytestmark = pytest.mark.usefixtures("shipped", "cache")


@pytest.fixture(autouse=True)
def small(shipped, checkpoint):
    return convert(checkpoint, shipped, "small").card


def test_a_model_loads_by_its_id(small):
    model = sam_moe.load("small", device="cpu")
    assert isinstance(model, sam_moe.Model) and model.card == small


def test_a_loaded_model_answers_a_click_with_the_cards_preprocessing(small):
    i, j, k = torch.meshgrid(*[torch.arange(20.0)] * 3, indexing="ij")
    scan = sam_moe.Volume(i + 2 * j + 3 * k, sam_moe.Grid(np.diag([1.5, 1.5, 1.5, 1.0]), (20, 20, 20)))
    predictor = sam_moe.load("small", device="cpu").open(scan)
    answer = predictor.predict(sam_moe.Point((9, 9, 9)))
    assert answer.model_id == "small"
    assert answer.probability.grid.same_as(scan.grid)
    assert predictor.model.preprocessing == small.preprocessing


def test_without_an_id_the_small_model_that_ships_is_taken(shipped, small):
    assert sam_moe.load(device="cpu").id == small.id
    shutil.rmtree(shipped / "small")
    with pytest.raises(CardError, match="no model with id 'small'"):
        sam_moe.load()


def test_half_precision_is_asked_for_by_name_and_nothing_else_is_known():
    assert sam_moe.load("small", device="cpu").dtype == torch.float32
    assert sam_moe.load("small", device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ConfigError, match=r"'float16' is unknown\. Known: float32, bfloat16"):
        sam_moe.load("small", dtype="float16")


def test_a_box_strategy_that_is_unknown_or_that_the_weights_cannot_do_is_refused():
    with pytest.raises(ConfigError, match=r"'corner' is unknown\. Known: center, mask, corners"):
        sam_moe.load("small", box_strategy="corner")
    with pytest.raises(ConfigError, match="needs weights with corner embeddings, and small has none"):
        sam_moe.load("small", box_strategy="corners")
