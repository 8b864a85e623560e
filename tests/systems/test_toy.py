"""Toy hosts keep the contract at each granularity; and the contract notices what does not keep it."""

from dataclasses import replace
from threading import current_thread, main_thread

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from sam_moe.errors import WeightsError
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import Selection
from sam_moe.moe.system import learning, tensors_of
from sam_moe.training.engine import checkpoint
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_metadata, read_state, save_weights
from tests.systems import toys
from tests.systems.contract import EXPERTS, Contract, Traits, answers

STEPS = 4


class OfToys(Contract):
    """What the toys' tests share."""

    toy: type[toys.Toy]
    one = (5, toys.WIDTH)
    expert = staticmethod(toys.ffn)
    light = (
        "from sam_moe.moe.rules import RULES; from sam_moe.moe.gates import GATES\n"
        "RULES.check('top_k'); GATES.check('linear')"
    )

    def make(self, rule, experts, base=0):
        return self.toy(rule, experts, base).eval()

    def batch(self, rows):
        return torch.randn(4, *self.one, generator=torch.Generator().manual_seed(5))[:rows]

    def new(self):
        return toys.seeded(100, self.expert)

    def kept(self, folder):
        path, base = folder / "toy.safetensors", fingerprint(self.make(self.rule, EXPERTS).trunk)
        system = self.make(self.rule, EXPERTS)
        for parameter in system.sites().popitem()[1].parameters():
            nn.init.normal_(parameter, std=0.4)
        save_weights(system.state_dict(), path, {"base": base})

        def load(base=0):
            again = self.make(self.rule, EXPERTS, base)
            if fingerprint(again.trunk) != read_metadata(path)["base"]:
                raise WeightsError(f"{path}: was saved over another base.")
            again.load_state_dict(read_state(path))
            return again

        return system, load, lambda: load(1)

    def trained(self, folder, stop=False):
        system = self.make(Dense(), EXPERTS)
        accelerator = Accelerator(cpu=True)
        with learning(system, system.phases()[-1]) as learnt:
            optimiser = accelerator.prepare(torch.optim.AdamW(learnt.values(), lr=0.01))
            system = accelerator.prepare(system)
            folder.mkdir(exist_ok=True)
            start, _ = checkpoint.resume(accelerator, folder, STEPS)
            for step in range(start, STEPS):
                output, _ = system(self.batch(4))
                accelerator.backward((output - step).square().mean())
                optimiser.step()
                optimiser.zero_grad()
                checkpoint.save(accelerator, folder, step + 1)
                if stop and step == STEPS // 2:
                    return None
        return tensors_of(system)


class TestByPrompt(OfToys):
    toy, traits, one = toys.ByPrompt, Traits("prompt"), (toys.WIDTH,)

    def alone(self, system, index, batch):
        with torch.no_grad():
            return system.site.experts[toys.IDS[index]](system.trunk(batch))

    def host(self, system, batch):
        with torch.no_grad():
            return toys.seeded(0, toys.ffn)(system.trunk(batch))


class TestByToken(OfToys):
    toy, rule = toys.ByToken, Dense()
    traits = Traits("token", sparse=False, frozen_by_phase=False)

    def alone(self, system, index, batch):
        with torch.no_grad():
            x = system.trunk(batch)
            for block, site in zip(system.blocks, system.sites().values(), strict=True):
                x = x + site.experts[toys.IDS[index]](block.norm(x))
            return x

    def host(self, system, batch):
        with torch.no_grad():
            x = system.trunk(batch)
            for n, block in enumerate(system.blocks):
                x = x + toys.seeded(10 * n, toys.ffn)(block.norm(x))
            return x


class TestShared(TestByToken):
    toy, rule = toys.Shared, TopK(1, raw=True)
    traits = Traits("token", sums_to_one=False, general=False)

    def alone(self, system, index, batch):
        with torch.no_grad():
            x = system.trunk(batch)
            for block, site in zip(system.blocks, system.sites().values(), strict=True):
                seen = block.norm(x)
                x = x + (site.shared(seen) + site.experts[toys.IDS[index]](seen))
            return x


class TestByPixel(OfToys):
    toy, traits, one, expert = toys.ByPixel, Traits("pixel"), (toys.WIDTH, 4, 3), toys.MapOf

    def alone(self, system, index, batch):
        with torch.no_grad():
            return system.site.experts[toys.IDS[index]](batch)

    def host(self, system, batch):
        with torch.no_grad():
            return toys.seeded(0, toys.MapOf)(batch)


@pytest.mark.parametrize(
    ("trait", "test"),
    [
        ("general", "test_03_the_general_expert_alone_is_the_host_to_the_bit"),
        ("sums_to_one", "test_04_weights_are_not_negative_and_sum_to_one_where_the_trait_says_so"),
        ("sparse", "test_05_only_the_chosen_experts_run_and_the_answers_are_those_of_all_of_them"),
        ("permutable", "test_06_experts_permuted_with_their_columns_change_nothing_and_alone_they_do"),
        ("frozen_by_phase", "test_08_a_step_of_each_phase_changes_what_the_phase_names_and_nothing_else"),
    ],
)
def test_a_trait_that_is_set_wrongly_is_noticed(trait, test):
    subject = TestByPrompt()
    getattr(subject, test)()
    subject.traits = replace(subject.traits, **{trait: not getattr(subject.traits, trait)})
    with pytest.raises(AssertionError):
        getattr(subject, test)()


class InOneThread(toys.ByPrompt):
    """It answers in the main thread alone."""

    def forward(self, batch):
        if current_thread() is not main_thread():
            raise RuntimeError("answers in the main thread alone")
        return super().forward(batch)


class OtherSelections(toys.ByPrompt):
    """Beside the main thread it returns other selections than its answers are made of."""

    def forward(self, batch):
        y, found = super().forward(batch)
        if current_thread() is main_thread():
            return y, found
        experts, weights, fell_back = found["decoder"].selection
        turned = Selection(experts.flip(-1), weights, fell_back)
        return y, {"decoder": replace(found["decoder"], selection=turned)}


@pytest.mark.parametrize("toy", [InOneThread, OtherSelections])
def test_threads_that_fail_or_return_other_selections_are_noticed(toy):
    subject = TestByPrompt()
    subject.toy = toy
    with pytest.raises((RuntimeError, AssertionError)):
        subject.test_10_routing_is_returned_explains_itself_and_is_right_with_two_threads()


def test_pixels_vote_each_for_itself():
    """By one expert a place: each place has the surest expert's logit there."""
    system, batch = toys.ByPixel(TopK(1), EXPERTS), TestByPixel().batch(2)
    with torch.no_grad():
        maps = torch.stack([expert(batch) for expert in system.site.experts.values()], dim=-1)
        surest = system.site.gate(system.trunk(batch.movedim(1, -1))).argmax(dim=-1, keepdim=True)
    assert surest.unique().numel() > 1
    torch.testing.assert_close(answers(system, batch), maps.gather(-1, surest)[..., 0])
