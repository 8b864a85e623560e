"""What every system must keep to: checks that take a factory, so that each paper's test file runs the same.

A factory makes the same system again, weights and all, with the selection and the number of specialists it
is asked for; its bank can make one specialist more, `SPARE`. `CHECKS` are all checks.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.promptable import Sam3DModule
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.gate import Gate
from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule
from sam_moe.weights.checksums import fingerprint

SPARE = "spare"


class System(Sam3DModule, Protocol):
    """A model that answers prompts with experts, and says which."""

    backbone: SamMed3D
    bank: ExpertBank
    gate: Gate
    selection: SelectionRule

    def choosing(self, selection: SelectionRule) -> "System": ...

    def decode_routed(self, embedding: Tensor, tokens: PromptTokens) -> tuple[Tensor, Routing]: ...

    def add_expert(self, name: str) -> torch.nn.Module: ...


Factory = Callable[[SelectionRule, int], System]


def asked(system: Sam3DModule, batch: int = 4) -> tuple[Tensor, PromptTokens]:
    """Regions and prompts, each prompt another: two clicks, one of them ignored in every second prompt."""
    rng, sizes = torch.Generator().manual_seed(3), system.sizes
    image = torch.randn(batch, 1, *[sizes.image_size] * 3, generator=rng)
    points = torch.rand(batch, 2, 3, generator=rng) * (sizes.image_size - 1)
    labels = torch.tensor([[1, 0], [1, -1]]).repeat(batch, 1)[:batch]
    mask = torch.randn(batch, 1, *[sizes.low_res] * 3, generator=rng)
    with torch.no_grad():
        return system.encode(image), system.encode_prompt(points, labels, None, mask)


def routed(system: System) -> Routing:
    """The routing of one batch of prompts."""
    with torch.no_grad():
        return system.decode_routed(*asked(system))[1]


def rows_of(embedding: Tensor, tokens: PromptTokens, rows: Tensor) -> tuple[Tensor, PromptTokens]:
    return embedding[rows], PromptTokens(*(part[rows] for part in tokens))


def answers_prompts_as_a_plain_model_does(factory: Factory) -> None:
    system = factory(Threshold(0.5), 3)
    assert isinstance(system, Sam3DModule)
    embedding, tokens = asked(system)
    low = system.sizes.low_res
    assert system.decode(embedding, tokens).shape == (4, 1, low, low, low)
    plain = asked(system.backbone)
    assert torch.equal(embedding, plain[0])
    pairs = zip(tokens, plain[1], strict=True)
    assert all(torch.equal(mine.nan_to_num(-1), theirs.nan_to_num(-1)) for mine, theirs in pairs)


def is_the_backbone_to_the_bit_where_the_general_expert_answers(factory: Factory) -> None:
    for rule in (Forced(0), Threshold(1.0)):
        for batch in (1, 4):
            system = factory(rule, 3)
            with torch.no_grad():
                question = asked(system, batch)
                assert torch.equal(system.decode(*question), system.backbone.decode(*question)), rule
    system = factory(Dense(), 3)
    best = routed(system).confidence[:, 1:].amax(dim=1)
    system = system.choosing(Threshold(best.median().item() + 1e-6))  # the lower two of four fall back
    with torch.no_grad():
        question = asked(system)
        logits, routing = system.decode_routed(*question)
        general = torch.tensor([who == {system.bank.ids[0]: 1.0} for who in routing.answered])
        assert general.sum() == 2
        rows = general.nonzero()[:, 0]
        assert torch.equal(logits[rows], system.backbone.decode(*rows_of(*question, rows)))
        others = (~general).nonzero()[:, 0]
        assert not torch.allclose(logits[others], system.backbone.decode(*rows_of(*question, others)))


def leaves_the_backbone_as_it_was(factory: Factory) -> None:
    """Also when all that may learn learns."""
    system = factory(Dense(), 2)
    before, gate = fingerprint(system.backbone), fingerprint(system.gate)
    assert isinstance(system, torch.nn.Module)
    question = asked(system)
    step = torch.optim.SGD([p for p in system.parameters() if p.requires_grad], lr=1.0)
    system.decode(*question).square().mean().backward()
    step.step()
    assert fingerprint(system.backbone) == before
    assert fingerprint(system.gate) != gate


def runs_only_the_experts_it_chose(factory: Factory) -> None:
    for rule in (Forced(2), Threshold(0.0), Argmax(), TopK(2), Dense()):
        system = factory(rule, 3)
        who = {name for row in routed(system).answered for name in row}
        assert system.bank.calls == dict.fromkeys(who, 1), rule
        assert set(system.bank.held) <= who | {system.bank.ids[0]}


def gives_weights_that_sum_to_one(factory: Factory) -> None:
    for rule in (Forced(1), Threshold(0.5), Argmax(), TopK(2), Dense()):
        weights = routed(factory(rule, 3)).selection.weights
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(4), msg=str(rule))


def keeps_every_bit_of_the_gate_when_an_expert_is_added(factory: Factory) -> None:
    system = factory(Forced(1), 3)
    before, old = routed(system), system.decode(*asked(system))
    column = system.add_expert(SPARE)
    for parameter in column.parameters():
        torch.nn.init.constant_(parameter, 0.7)
    after = routed(system)
    assert after.ids == (*before.ids, SPARE)
    assert torch.equal(after.logits[:, :-1], before.logits)
    assert torch.equal(system.decode(*asked(system)), old)
    forced = system.choosing(Forced(len(before.ids)))
    assert [list(row) for row in routed(forced).answered] == [[SPARE]] * 4


def says_who_answered_and_why(factory: Factory) -> None:
    system = factory(Forced(2), 3)
    routing = routed(system)
    assert routing.answered == ({system.bank.ids[2]: 1.0},) * 4
    assert len(routing.why) == 4 and all(routing.why)
    torch.testing.assert_close(routing.confidence.sum(dim=1), torch.ones(4))
    routing = routed(system.choosing(Threshold(1.0)))
    assert routing.selection.fell_back.all()
    assert all(why.startswith("fell back: best ") for why in routing.why)


def leaves_nothing_of_an_answer_behind(factory: Factory) -> None:
    """So that threads can share a system: what it knows is the same before and after it answers."""
    system = factory(Forced(1), 3)
    before = {name: id(value) for name, value in vars(system).items()}
    routed(system)
    routed(system.choosing(Forced(2)))
    assert {name: id(value) for name, value in vars(system).items()} == before
    assert routed(system).answered == ({system.bank.ids[1]: 1.0},) * 4


CHECKS: list[Callable[[Factory], None]] = [
    answers_prompts_as_a_plain_model_does,
    is_the_backbone_to_the_bit_where_the_general_expert_answers,
    leaves_the_backbone_as_it_was,
    runs_only_the_experts_it_chose,
    gives_weights_that_sum_to_one,
    keeps_every_bit_of_the_gate_when_an_expert_is_added,
    says_who_answered_and_why,
    leaves_nothing_of_an_answer_behind,
]
