"""Writes tiny automatic models as folders of cards: M4oE in a convolutional U-Net by seeded noise.

For the tests of every room: `write_automatic(tmp_path)` writes `tmp_path/auto/` with a card and 36 kB of
weights in milliseconds, and returns its entry; `sam_moe.load(entry.folder)` loads it. Its data sets are the
two of `tests.registry.conftest.make_automatic_card`: "neck" (CT: cord, larynx) and "brain" (T1 MR:
hippocampus), each with an expert of its own.
"""

import torch

from sam_moe.registry import AutomaticCard, read_entry, write_card
from sam_moe.systems.m4oe.load import module_of
from sam_moe.systems.m4oe.references import MEAN, PRECISION
from sam_moe.weights.files import WEIGHTS, save_weights
from tests.registry.conftest import make_automatic_card
from tests.systems.sam_med3d_moe.mixtures import weights_record


def tiny_network(card, seed=0):
    """The network of a card by seeded noise, its gates too, so that they have opinions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = module_of(card)
        for name, parameter in network.named_parameters():
            if ".gate." in name:
                torch.nn.init.normal_(parameter)
    return network.eval()


def reference_state(card, network):
    """For each set a mean profile in which its own expert stands out, and the unit precision."""
    experts, places = len(card.mixture.experts), len(network.sites())
    state = {}
    for each in card.sets:
        column = torch.eye(experts)[card.mixture.experts.index(each.expert)] - 1 / experts
        state[MEAN.format(each.id)] = column.repeat(places)
        state[PRECISION.format(each.id)] = torch.eye(experts * places)
    return state


def write_automatic(folder, references=True, seed=0, **changes):
    """A tiny automatic model in `folder/<id>/`; `changes` are fields of its card.

    Without `references` its weights cannot know which set a scan is like, as converted ones.
    """
    card = AutomaticCard.model_validate(make_automatic_card(**changes))
    network = tiny_network(card, seed)
    state = network.state_dict() | (reference_state(card, network) if references else {})
    path = folder / card.id / WEIGHTS
    path.parent.mkdir(parents=True)
    save_weights(state, path)
    record = card.weights.model_validate(weights_record(path))
    write_card(card.model_copy(update={"weights": record}), path.parent / "card.json")
    return read_entry(path.parent / "card.json")
