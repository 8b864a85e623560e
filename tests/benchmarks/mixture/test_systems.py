"""The controls: an ensemble of equal weights, the mean of decoders, task arithmetic."""

import pytest
import torch

from benchmarks.mixture import systems
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.selection import SelectionRule

TINY = Sizes(32, 8, 48, 2, 4, 4, (1,), 48, 128, 8, 2, 32, corner_embeddings=True)


def decoder(value):
    made = MaskDecoder(TINY)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(value)
    return made


def values(network):
    return {round(float(x), 6) for p in network.parameters() for x in p.detach().flatten().unique()}


def test_the_share_of_all_decoders_is_their_mean():
    mean = systems.combined(decoder(1.0), [decoder(2.0), decoder(6.0)], 1 / 3)
    assert values(mean) == {3.0}  # (1 + 2 + 6) / 3


def test_task_arithmetic_adds_a_share_of_each_difference():
    added = systems.combined(decoder(1.0), [decoder(2.0), decoder(0.0)], 0.3)
    assert values(added) == {1.0}  # 1 + 0.3 * (1 - 1)
    assert values(systems.combined(decoder(1.0), [decoder(2.0)], 0.3)) == {1.3}


def test_combining_leaves_the_decoders_as_they_are():
    general, expert = decoder(1.0), decoder(2.0)
    systems.combined(general, [expert], 0.5)
    assert values(general) == {1.0} and values(expert) == {2.0}


@pytest.mark.parametrize("experts", [1, 2, 5])
def test_an_ensemble_weighs_all_experts_alike_whatever_the_gate_says(experts):
    confidence = torch.rand(3, experts)
    chosen = systems.Uniform().select(confidence)
    assert torch.equal(chosen.experts, torch.arange(experts).expand(3, -1))
    torch.testing.assert_close(chosen.weights, torch.full((3, experts), 1 / experts))
    assert not chosen.fell_back.any()
    assert systems.Uniform().explain(confidence, chosen) == ("all alike",) * 3
    assert isinstance(systems.Uniform(), SelectionRule) and systems.Uniform().describe() == "all alike"


@pytest.mark.slow
def test_the_systems_of_the_table_share_one_encoder_and_one_cache():
    found = systems.load_systems("small-moe", "small")
    assert found.experts[0] == "small"
    assert {systems.GENERAL, systems.MIXTURE, *systems.CONTROLS, *found.experts[1:]} <= found.models.keys()
    caches = {id(model.cache) for model in found.models.values()}
    assert len(caches) == 1
    assert {model.id for model in found.models.values()} == found.models.keys()
    assert found.mixture is found.models[systems.MIXTURE].network.module
