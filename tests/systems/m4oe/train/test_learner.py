"""The loss of each phase, put together by hand; a gate fitted on frozen features names the modality."""

from math import log

import pytest
import torch
from torch.nn import functional as F

from sam_moe.moe.by_row import ByRow
from sam_moe.moe.system import learning
from sam_moe.systems.m4oe.train.learner import SlicesLoss, fresh_model, gate_loss
from sam_moe.systems.m4oe.train.losses import segmentation_loss
from tests.systems.contract import digests
from tests.systems.m4oe.tiny import CONV, SWIN, batch, mixture_of, network, noise

RNG = torch.Generator()


def drawn(sizes):
    """A batch as it is drawn: heads 0, 1, 2, 0, in which the second row has no contours of class 2."""
    rows, edge = batch(sizes), sizes.image_size
    contoured = torch.ones(4, 3, dtype=torch.bool)
    contoured[1, 2] = False
    target = torch.randint(2, (4, edge, edge), generator=torch.Generator().manual_seed(2))
    heads = {"set": rows.heads, "scan": rows.scans}
    return {"image": rows.images, "target": target, "contoured": contoured, **heads}


def parts(model, rule):
    """The segmentation's loss and the gates' one, of a batch answered by a rule."""
    given, rows = drawn(model.host.sizes), batch(model.host.sizes)
    logits, found = model(rows, rule)
    labels = segmentation_loss(logits, given["target"], given["contoured"], rows.heads, (3, 3, 3))
    gates = [F.cross_entropy(routing.logits, torch.tensor([0, 1, 2, 0])) for routing in found.values()]
    return labels, sum(gates) / len(gates)


@pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])
def test_each_aim_by_hand(sizes):
    model = network(sizes, mixture_of())
    known = ByRow(torch.tensor([0, 1, 2, 0]))
    with torch.no_grad():
        by_known, gates_of_known = parts(model, known)
        by_gates, gates = parts(model, None)

        def loss(aim, domain=0.1):
            return SlicesLoss(model, aim, domain)(drawn(sizes), RNG)

        torch.testing.assert_close(loss("known"), by_known)
        torch.testing.assert_close(loss("gate"), gates_of_known)
        torch.testing.assert_close(loss("gated"), by_gates + 0.1 * gates)
        torch.testing.assert_close(loss("gated", 0.0), by_gates)
        torch.testing.assert_close(loss("added"), by_known + gates_of_known)
        assert float(by_known - by_gates) != 0 and float(gates - gates_of_known) != 0


def test_an_undecided_gate_over_three_experts_costs_the_logarithm_of_three():
    model = network(CONV, mixture_of(), gates=False)
    with torch.no_grad():
        found = SlicesLoss(model, "gate")(drawn(CONV), RNG)
    torch.testing.assert_close(found, torch.tensor(log(3)))


def test_tokens_are_pooled_before_they_cost_something():
    model = network(CONV, mixture_of(pooling="token"))
    with torch.no_grad():
        _, found = model(batch(CONV))
        by_hand = [F.cross_entropy(r.logits.mean(dim=1), torch.tensor([0, 1, 2, 0])) for r in found.values()]
        torch.testing.assert_close(
            gate_loss(found.values(), torch.tensor([0, 1, 2, 0])), torch.stack(by_hand).mean()
        )


def test_a_gate_that_is_fitted_on_frozen_features_names_every_modality():
    """Slices of three kinds of brightness; all but the gate keeps every bit."""
    model = network(CONV, mixture_of(), gates=False)
    given = drawn(CONV)
    texture = noise(3, 3, 8, 8, seed=5)
    given["image"] = 0.3 * given["image"] + texture[given["set"]]
    phase = next(phase for phase in model.phases() if phase.name == "gate")
    before = digests(model.state_dict())
    with learning(model, phase) as learnt:
        optimiser, loss = torch.optim.Adam(learnt.values(), lr=0.3), SlicesLoss(model, "gate")
        first = None
        for _ in range(40):
            value = loss(given, RNG)
            first = value.item() if first is None else first
            value.backward()
            optimiser.step()
            optimiser.zero_grad()
    with torch.no_grad():
        _, found = model(batch(CONV)._replace(images=given["image"]))
    assert first == pytest.approx(log(3), abs=1e-5) and float(value) < 0.2
    for routing in found.values():
        assert routing.logits.argmax(dim=-1).tolist() == [0, 1, 2, 0]
    after = digests(model.state_dict())
    assert {name for name in after if after[name] != before[name]} == set(learnt)


def test_first_weights_hang_on_the_seed_alone_and_chance_goes_on_as_it_was():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one = fresh_model(CONV, mixture_of(), (0, 1, 2), 3)
    assert torch.equal(torch.rand(1), wanted)
    again, other = (fresh_model(CONV, mixture_of(), (0, 1, 2), seed) for seed in (3, 4))
    assert digests(one.state_dict()) == digests(again.state_dict()) != digests(other.state_dict())
    assert one.owners == (0, 1, 2)
