"""An expert's tensors are stored as they are or in one precision, and known again."""

import pytest
import torch

from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.keeping import record_of, refuse, same_weights, storable
from sam_moe.weights.files import read_state
from tests.systems.sam_med3d_moe.mixtures import write_expert

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_one_precision_keep_it(kind):
    state = {"a": torch.ones(2, dtype=kind), "b": torch.zeros(1, dtype=kind)}
    kept, name = storable(state)
    assert kept is state and name == str(kind).removeprefix("torch.")


def test_mixed_or_other_precisions_become_float32():
    for other in (torch.float16, torch.float64):
        kept, name = storable({"a": torch.tensor([0.5]), "b": torch.tensor([0.25], dtype=other)})
        assert name == "float32"
        assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
        assert kept["b"].tolist() == [0.25]


def test_a_file_of_weights_is_named_as_cards_name_it():
    assert record_of("x.safetensors", "a" * 64, 7, "float16") == {
        "file": "x.safetensors",
        "sha256": "a" * 64,
        "size_bytes": 7,
        "dtype": "float16",
    }


def test_weights_are_known_again_and_an_id_that_is_taken_says_what_to_do(tmp_path):
    expert = write_expert(tmp_path, "cord", find_backbone("tiny"))
    state = read_state(expert.folder / expert.card.weights.file)
    assert same_weights(expert, state)
    assert "with the same weights. For a gate" in str(refuse("cord", expert, state, "card.json"))
    name = next(iter(state))
    changed = {**state, name: state[name] + 1}
    assert not same_weights(expert, changed)
    assert not same_weights(expert, {key: tensor for key, tensor in state.items() if key != name})
    assert "Choose another id" in str(refuse("cord", expert, changed, "card.json"))
