"""What belongs to a model, and what an embedding depends on."""

from dataclasses import replace

import pytest
import torch

from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.parts import ModelParts
from sam_moe.prompts.lowering import Lowering


@pytest.fixture
def parts(promptable, preprocessing):
    return ModelParts(promptable, preprocessing, "by hand")


def test_the_rule_of_boxes_is_the_networks(parts, promptable):
    assert parts.box_strategy == "mask"
    assert replace(parts, network=replace(promptable, box_strategy="center")).box_strategy == "center"


def test_an_embedding_depends_on_encoder_region_and_precision_and_on_nothing_that_comes_after(parts):
    card = parts.preprocessing.model_copy(update={"spacing_mm": 2.0})
    for change in ({"preprocessing": card}, {"dtype": torch.bfloat16}, {"device": torch.device("meta")}):
        assert replace(parts, **change).embedding_key != parts.embedding_key, change
    kept = {"id": "other", "whole_targets": False, "lowering": Lowering(loop="box"), "history_bytes": 0}
    assert replace(parts, **kept).embedding_key == parts.embedding_key


def test_each_model_has_a_cache_of_its_own_unless_one_is_given(promptable, preprocessing):
    one, two = (ModelParts(promptable, preprocessing, "by hand") for _ in range(2))
    assert one.cache is not two.cache and one != two
    shared = EmbeddingCache()
    assert ModelParts(promptable, preprocessing, "by hand", cache=shared).cache is shared
