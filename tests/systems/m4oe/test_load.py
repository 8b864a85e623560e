"""From a card to an automatic model: its weights, its references, and what is refused."""

import json

import pytest
import torch

from sam_moe.errors import CardError, WeightsError
from sam_moe.registry import Entry, read_entry
from sam_moe.systems.m4oe.load import load
from sam_moe.weights.files import read_state, save_weights
from tests.systems.m4oe.automatics import tiny_network, write_automatic
from tests.systems.sam_med3d_moe.mixtures import weights_record


def loaded(entry):
    return load(entry, None, "cpu", None)


def written(folder, state=None, **card):
    """The tiny model with other weights, or other fields of its card, whose record fits the file."""
    entry = write_automatic(folder)
    if state is not None:
        save_weights(state, entry.weights_path)
    fields = json.loads(entry.path.read_text()) | card
    fields["weights"] = weights_record(entry.weights_path)
    entry.path.write_text(json.dumps(fields))
    return read_entry(entry.path)


def test_a_card_becomes_the_network_with_its_weights_sets_and_references(tmp_path):
    entry = write_automatic(tmp_path)
    found = loaded(entry)
    assert found.card == entry.card and found.network.sets == entry.card.sets
    expected = tiny_network(entry.card).state_dict()
    state = found.network.module.state_dict()
    assert state.keys() == expected.keys() and all(torch.equal(state[n], t) for n, t in expected.items())
    own = read_state(entry.weights_path)["reference.neck.mean"]
    assert found.network.distance(own, 0) == 0.0 and found.network.distance(own, 1) == pytest.approx(1.0)
    assert found.network.module.owners == (0, 1) and not found.network.module.training


def test_weights_without_references_know_no_distance(tmp_path):
    found = loaded(write_automatic(tmp_path, references=False))
    assert found.network.distance(torch.zeros(4), 0) is None


def test_half_precision_is_computed_in_single(tmp_path):
    entry = write_automatic(tmp_path)
    half = {name: tensor.half() for name, tensor in read_state(entry.weights_path).items()}
    module = loaded(written(tmp_path / "half", half)).network.module
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, half[name].float())


def test_a_box_strategy_is_refused(tmp_path):
    with pytest.raises(CardError, match="takes no boxes, so no box strategy either. Leave it out"):
        load(write_automatic(tmp_path), None, "cpu", "mask")


def test_another_kind_of_card_is_refused(shipped_backbone):
    with pytest.raises(CardError, match="kind: 'backbone' is none of M4oE's; expected 'automatic'"):
        load(shipped_backbone, None, "cpu", None)


@pytest.fixture
def shipped_backbone():
    from sam_moe.registry.finding import find_card

    entry = find_card("tiny")
    assert isinstance(entry, Entry)
    return entry


def lacking(state):
    del state["host.stem.conv_0.conv.weight"]


def more(state):
    state["host.extra"] = torch.zeros(1)


def reshaped(state):
    state["host.outputs.1.bias"] = torch.zeros(9)


@pytest.mark.parametrize(
    ("change", "name"),
    [(lacking, "host.stem.conv_0.conv.weight"), (more, "host.extra"), (reshaped, "host.outputs.1.bias")],
)
def test_tensors_that_do_not_fit_the_architecture_are_named(tmp_path, change, name):
    state = read_state(write_automatic(tmp_path).weights_path)
    change(state)
    with pytest.raises(WeightsError, match=f"1 tensors do not fit the card's architecture, such as {name}"):
        loaded(written(tmp_path / "other", state))


def test_weights_that_were_changed_are_refused(tmp_path):
    entry = write_automatic(tmp_path)
    with entry.weights_path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="bytes, the card says"):
        loaded(entry)
