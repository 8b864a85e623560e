"""The model: where it has experts, who answers which head, and that each row is alone but for its scan."""

import pytest
import torch

from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.system import System
from sam_moe.systems.m4oe.model import M4oE, Slices
from tests.systems.m4oe.tiny import CONV, IDS, SWIN, batch, host_with, mixture_of, network

BOTH = pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])
PLACES = {
    "conv_unet": ["down.1", "down.2", "up.1"],
    "swin_unet": [
        *(f"layers.{n}.blocks.0" for n in range(4)),
        *(f"layers_up.{n}.blocks.0" for n in (1, 2, 3)),
    ],
}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@BOTH
@pytest.mark.parametrize("ungated", [0, 1, 2, 99])
def test_the_first_places_may_have_no_gate(sizes, ungated):
    model = network(sizes, mixture_of(ungated=ungated))
    places = PLACES[sizes.host]
    assert isinstance(model, System) and list(model.sites()) == places[ungated:]
    assert sum(".mlp.shared.0.weight" in name for name in model.state_dict()) == min(ungated, len(places))
    output, found = model(batch(sizes))
    assert list(found) == places[ungated:] and output.shape[:2] == (4, 3)
    assert [len(parts) for parts in model.experts().values()] == [len(places[ungated:])] * 3


@BOTH
def test_one_expert_needs_no_gates_and_is_a_plain_network(sizes):
    model = network(sizes, mixture_of(1))
    assert not model.sites() and list(model.experts()) == ["ct"] and model.owners == (0, 0, 0)
    rows = batch(sizes)
    assert not any("gate" in name or "experts" in name for name in model.state_dict())
    assert torch.equal(model(rows, model.known(rows.heads))[0], model(rows)[0])


@BOTH
@pytest.mark.parametrize("pooling", ["token", "slice", "volume"])
def test_the_expert_of_each_data_set_answers_its_rows(sizes, pooling):
    model, rows = network(sizes, mixture_of(pooling=pooling)), batch(sizes)
    output, found = model(rows, model.known(rows.heads))
    for row, head in enumerate((0, 1, 2, 0)):
        alone = host_with(model, IDS[head])(rows.images[[row]], rows.heads[[row]])
        torch.testing.assert_close(output[[row]], alone, rtol=1e-3, atol=1e-5)
    for routing in found.values():
        assert routing.weights.reshape(4, -1, 3)[:, 0].argmax(dim=-1).tolist() == [0, 1, 2, 0]


def test_several_data_sets_may_have_one_expert():
    model = M4oE(CONV, mixture_of(2), (1, 0, 1))
    assert model.known(torch.tensor([0, 1, 2, 1])).index.tolist() == [1, 0, 1, 0]


@BOTH
def test_forced_scores_answer_by_the_known_expert_unless_asked_otherwise(sizes):
    forced, rows = network(sizes, mixture_of(scores="forced")), batch(sizes)
    assert torch.equal(forced(rows)[0], forced(rows, forced.known(rows.heads))[0])
    assert not torch.equal(forced(rows, Forced(1))[0], forced(rows)[0])
    gated = network(sizes, mixture_of())
    assert torch.equal(gated(rows)[0], forced(rows, Dense())[0])  # the same weights, weighed by the gates


@BOTH
def test_rows_of_one_scan_are_weighed_alike_and_others_stay_as_they_are(sizes):
    model, rows = network(sizes, mixture_of(pooling="volume")), batch(sizes)
    apart, _ = model(rows)
    together, found = model(rows._replace(scans=torch.tensor([4, 4, 0, 4])))
    for routing in found.values():
        assert torch.equal(routing.weights[[0, 0]], routing.weights[[1, 3]])
        assert not torch.equal(routing.weights[0], routing.weights[2])
    torch.testing.assert_close(together[2], apart[2], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(together[0], apart[0], rtol=1e-3, atol=1e-5)


@BOTH
def test_heads_are_the_rows_own(sizes):
    model, rows = network(sizes.model_copy(update={"classes": (3, 2, 4)}), mixture_of()), batch(sizes)
    output, _ = model(rows)
    assert output.shape[1] == 4 and (output[1, 2:] == 0).all() and (output[0, 3] == 0).all()
    alone, _ = model(Slices(*(part[[1]] for part in rows)))
    torch.testing.assert_close(alone, output[[1], :2], rtol=1e-3, atol=1e-5)


def test_the_names_of_its_tensors_begin_with_the_host():
    """Trained weights lie under these names."""
    names = set(network(CONV, mixture_of()).state_dict())
    assert {name.split(".")[0] for name in names} == {"host"}
    assert "host.down_places.1.mlp.shared.0.weight" in names
    assert "host.down_places.2.mlp.site.experts.mr-t2.2.bias" in names
    assert "host.up_places.1.mlp.site.gate.columns.2.weight" in names
    swin = set(network(SWIN, mixture_of(scores="channel")).state_dict())
    assert "host.layers.1.blocks.0.mlp.site.experts.ct.0.weight" in swin
    assert "host.layers_up.3.blocks.0.mlp.gating_network.weight" in swin
