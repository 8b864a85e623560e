"""The contract of all systems: a test class of each paper derives from `Contract` and says what is its own.

Twelve sentences, a test each: the same input gives the same answers; a forced expert is that expert alone;
the general expert alone is the host; weights are what the rule promises; only chosen experts run; their order
does not matter; an expert more leaves the others as they were; a phase changes what it names; what was saved
loads equal; routing explains itself, in several threads too; a stopped phase goes on as if it had not been
stopped; card and recipe are read without torch. A trait that a system lacks is tested for being absent, so
that no trait is set wrongly.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sam_moe.errors import SamMoeError
from sam_moe.moe.names import Granularity
from sam_moe.moe.routing import Routing
from sam_moe.moe.rule_settings import read_rule
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule
from sam_moe.moe.site import MoESite
from sam_moe.moe.system import System, learning, tensors_of

ROOT = Path(__file__).resolve().parents[2]
EXPERTS = 3


@dataclass(frozen=True)
class Traits:
    """What holds for a system.

    Args:
        granularity: what is routed by itself at each site.
        sums_to_one: the weights of a row do, under the system's own rule.
        general: expert 0 alone is the host as it was.
        sparse: experts that were not chosen do not run.
        frozen_by_phase: a phase leaves some tensor as it was.
        permutable: which expert has which column matters.
    """

    granularity: Granularity
    sums_to_one: bool = True
    general: bool = True
    sparse: bool = True
    frozen_by_phase: bool = True
    permutable: bool = True


class Contract:
    """What every system must keep to.

    `light` is a program that reads the system's card and recipe; `rule` the system's own selection rule.
    """

    traits: Traits
    rule: SelectionRule = TopK(2)
    light: str

    def make(self, rule: SelectionRule, experts: int) -> System:
        """The same system each time, weights and all, with this rule and number of experts."""
        raise NotImplementedError

    def batch(self, rows: int) -> Any:
        """A batch of tensors, or of named tuples of them; the rows of a shorter one begin a longer one."""
        raise NotImplementedError

    def alone(self, system: System, index: int, batch: Any) -> Tensor:
        """The answers of the host with one expert in place of each site, without any routing."""
        raise NotImplementedError

    def host(self, system: System, batch: Any) -> Tensor:
        """The answers of the host as it was before it had experts."""
        raise NotImplementedError

    def kept(self, folder: Path) -> tuple[System, Callable[[], System], Callable[[], System]]:
        """A system written to a folder, what loads it, and what loads it on another base and is refused."""
        raise NotImplementedError

    def trained(self, folder: Path, stop: bool = False) -> dict[str, Tensor] | None:
        """What a phase leaves; None where it was stopped in the middle. Started again, it goes on."""
        raise NotImplementedError

    def new(self) -> nn.Module | None:
        """An expert to be added at a site; None where its bank makes it."""
        return None

    def permuted(self, system: System, order: list[int], columns: bool) -> System:
        """The experts of every site in another order, and with `columns` the gate's columns too."""
        for site in set(system.sites().values()):
            assert isinstance(site, MoESite) and isinstance(site.experts, nn.ModuleDict)
            modules = list(site.experts.values())
            site.experts.update({id: modules[n] for id, n in zip(site.ids, order, strict=True)})
        gates = {id(site.gate): site.gate for site in system.sites().values()}
        for gate in gates.values() if columns else ():
            gate.columns = nn.ModuleList(gate.columns[n] for n in order)  # type: ignore[index]
        return system

    def oracle(self, system: System, batch: Any) -> Tensor:
        """The answers where every expert runs on every row."""
        for site in system.sites().values():
            assert isinstance(site, MoESite)
            site.kind = replace(site.kind, dispatch="dense")
        return answers(system, batch)

    # ------------------------------------------------------------------------------------------------------

    def test_01_same_in_same_out_row_by_row_of_a_batch(self):
        system, batch = self.make(self.rule, EXPERTS), self.batch(4)
        first = answers(system, batch)
        assert torch.equal(answers(system, batch), first)
        assert torch.equal(answers(self.make(self.rule, EXPERTS), batch), first)
        for row in range(4):
            torch.testing.assert_close(
                answers(system, taken(batch, [row])), first[[row]], rtol=1e-4, atol=1e-5
            )

    def test_02_a_forced_expert_is_that_expert_alone_to_the_bit(self):
        system, batch = self.make(Forced(0), EXPERTS), self.batch(3)
        alone = [self.alone(system, index, batch) for index in range(EXPERTS)]
        for index in range(EXPERTS):
            assert torch.equal(answers(self.make(Forced(index), EXPERTS), batch), alone[index])
            assert not any(torch.equal(alone[index], alone[other]) for other in range(index))

    def test_03_the_general_expert_alone_is_the_host_to_the_bit(self):
        batch = self.batch(3)
        for rule in (Forced(0), Threshold(1.0)):
            system = self.make(rule, EXPERTS)
            same = torch.equal(answers(system, batch), self.host(system, batch))
            assert same == self.traits.general, f"{rule}: the trait `general` is set wrongly"

    def test_04_weights_are_not_negative_and_sum_to_one_where_the_trait_says_so(self):
        for rule in (Forced(1), Threshold(0.5), Argmax(), TopK(2), Dense(), self.rule):
            for routing in routed(self.make(rule, EXPERTS), self.batch(4)):
                assert routing.weights.shape[-1] == EXPERTS and (routing.weights >= 0).all()
                total = routing.weights.sum(dim=-1)
                one = torch.allclose(total, torch.ones_like(total), atol=1e-5)
                assert one == (rule != self.rule or self.traits.sums_to_one), rule

    def test_05_only_the_chosen_experts_run_and_the_answers_are_those_of_all_of_them(self):
        batch = self.batch(4)
        for rule in (Forced(2), Threshold(0.0), Argmax(), TopK(2), Dense(), self.rule):
            system = self.make(rule, EXPERTS)
            ran, found = running(system, batch)
            chosen = {name for routing in routed(system, batch) for row in routing.answered for name in row}
            everyone = set(system.experts())
            assert ran == (chosen if self.traits.sparse else everyone), f"{rule}: `sparse` is set wrongly"
            torch.testing.assert_close(
                found, self.oracle(self.make(rule, EXPERTS), batch), rtol=1e-5, atol=1e-6
            )

    def test_06_experts_permuted_with_their_columns_change_nothing_and_alone_they_do(self):
        batch, order = self.batch(4), [0, 2, 1]
        before = answers(self.make(Dense(), EXPERTS), batch)
        both = answers(self.permuted(self.make(Dense(), EXPERTS), order, columns=True), batch)
        torch.testing.assert_close(both, before, rtol=1e-5, atol=1e-5)
        alone = answers(self.permuted(self.make(Dense(), EXPERTS), order, columns=False), batch)
        moved = float((alone - before).abs().max()) > 1e-3
        assert moved == self.traits.permutable, "the trait `permutable` is set wrongly"

    def test_07_an_expert_more_leaves_old_columns_and_answers_to_the_bit(self):
        system, batch = self.make(Forced(1), EXPERTS), self.batch(3)
        before, old = routed(system, batch), answers(system, batch)
        for site in system.sites().values():
            assert isinstance(site, MoESite)
            site.add("more", self.new())
            nn.init.constant_(site.gate.columns[-1].weight, 0.3)
        assert torch.equal(answers(system, batch), old)
        for was, now in zip(before, routed(system, batch), strict=True):
            assert now.ids[:EXPERTS] == was.ids and len(now.ids) == EXPERTS + 1
            assert torch.equal(now.logits[..., :EXPERTS], was.logits)
            assert now.logits[..., EXPERTS].abs().max() > 0
        assert list(system.experts()) == list(now.ids)

    def test_08_a_step_of_each_phase_changes_what_the_phase_names_and_nothing_else(self):
        phases = self.make(self.rule, EXPERTS).phases()
        assert phases and len({phase.name for phase in phases}) == len(phases)
        left = set()
        for phase in phases:
            rule = read_rule(phase.rule) if phase.rule else self.rule
            system = self.make(rule, EXPERTS)
            before = digests(tensors_of(system))
            with learning(system, phase) as learnt:
                step = torch.optim.SGD(learnt.values(), lr=0.5)
                output, _ = system.forward(self.batch(4))
                output.square().mean().backward()
                reached = {name for name, p in learnt.items() if p.grad is not None and p.grad.any()}
                step.step()
            after = digests(tensors_of(system))
            changed = {name for name in before if after[name] != before[name]}
            assert changed <= reached <= set(phase.names(tensors_of(system))), phase.name
            small = [float(learnt[name].grad.abs().max()) for name in reached - changed]
            assert max(small, default=0) < 1e-5, phase.name  # less than a step of float32
            for pattern in phase.learns:
                assert set(replace(phase, learns=(pattern,)).names(tensors_of(system))) & changed, pattern
            left |= set(before) - set(phase.names(tensors_of(system)))
        assert bool(left) == self.traits.frozen_by_phase, "the trait `frozen_by_phase` is set wrongly"

    def test_09_saved_and_loaded_it_is_equal_and_another_base_is_refused(self, tmp_path):
        system, load, load_on_another = self.kept(tmp_path)
        again, batch = load(), self.batch(3)
        assert digests(tensors_of(again)) == digests(tensors_of(system))
        assert torch.equal(answers(again, batch), answers(system, batch))
        with pytest.raises(SamMoeError, match=r"base|other weights|architecture"):
            load_on_another()

    def test_10_routing_is_returned_explains_itself_and_is_right_with_two_threads(self):
        system = self.make(Forced(2), EXPERTS)
        ids = tuple(system.experts())
        for routing in routed(system, self.batch(2)):
            rows = routing.logits.shape[:-1].numel()
            assert routing.granularity == self.traits.granularity and routing.ids == ids
            assert routing.answered == ({ids[2]: 1.0},) * rows
            assert routing.why == ("asked for",) * rows
        assert {site.granularity for site in system.sites().values()} == {self.traits.granularity}
        system, batches = self.make(self.rule, EXPERTS), [self.batch(4), taken(self.batch(4), [3, 2, 1, 0])]
        alone = [(answers(system, batch), routed(system, batch)) for batch in batches]
        both = Barrier(2, timeout=60)

        def ask(n: int) -> None:
            both.wait()
            for _ in range(5):
                with torch.no_grad():
                    output, found = system.forward(batches[n])
                assert torch.equal(output, alone[n][0])
                assert list(found) == list(system.sites())
                for now, then in zip(found.values(), alone[n][1], strict=True):
                    assert now.ids == then.ids and torch.equal(now.logits, then.logits)
                    assert all(map(torch.equal, now.selection, then.selection))

        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(ask, n) for n in (0, 1)]
        for one in asked:
            one.result()
        assert not torch.equal(alone[0][0], alone[1][0])

    def test_11_a_phase_stopped_and_started_again_is_equal_to_the_bit(self, tmp_path):
        whole = self.trained(tmp_path / "whole")
        assert self.trained(tmp_path / "cut", stop=True) is None
        again = self.trained(tmp_path / "cut")
        assert whole is not None and again is not None
        assert digests(again) == digests(whole)

    def test_12_card_and_recipe_are_read_without_torch(self):
        program = f"import sys\n{self.light}\nassert 'torch' not in sys.modules; print('read')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout == "read\n", done.stderr


def answers(system: System, batch: Any) -> Tensor:
    """What it answers to a batch."""
    with torch.no_grad():
        return system.forward(batch)[0]


def routed(system: System, batch: Any) -> list[Routing]:
    """How a batch is routed at each site, in their order."""
    with torch.no_grad():
        found = system.forward(batch)[1]
    assert set(found) == set(system.sites())
    return [found[name] for name in system.sites()]


def running(system: System, batch: Any) -> tuple[set[str], Tensor]:
    """The experts that run on a batch, and the answers."""
    ran: set[str] = set()
    hooks = []
    for id, expert in system.experts().items():
        for part in expert if isinstance(expert, nn.ModuleList) else (expert,):
            hooks.append(part.register_forward_hook(lambda *_, id=id: ran.add(id)))
    try:
        return ran, answers(system, batch)
    finally:
        for hook in hooks:
            hook.remove()


def taken(batch: Any, rows: list[int]) -> Any:
    """These rows of a batch."""
    if batch is None:
        return None
    if isinstance(batch, Tensor):
        return batch[rows]
    return type(batch)(*(taken(part, rows) for part in batch))


def digests(tensors: dict[str, Tensor]) -> dict[str, str]:
    """The SHA-256 of each tensor."""
    return {
        name: sha256(t.detach().contiguous().numpy().tobytes()).hexdigest() for name, t in tensors.items()
    }
