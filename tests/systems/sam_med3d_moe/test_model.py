"""What is SAM-Med3D-MoE's own beside the contract of all systems: answers as a plain model, whole experts."""

import copy
import dataclasses
import gc

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.promptable import Sam3DModule
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE, WholeExpert
from sam_moe.weights.checksums import fingerprint
from tests.systems.sam_med3d_moe.small import SIZES, asked, expert, routed, system


def decoded(model: SamMed3DMoE) -> torch.Tensor:
    with torch.no_grad():
        return model.decode(*asked(model))


def test_it_embeds_and_answers_as_its_backbone_does():
    model = system(Threshold(0.5), 3)
    assert isinstance(model, Sam3DModule)
    embedding, tokens = asked(model)
    low = model.sizes.low_res
    assert model.decode(embedding, tokens).shape == (4, 1, low, low, low)
    plain = asked(model.backbone)
    assert torch.equal(embedding, plain[0])
    pairs = zip(tokens, plain[1], strict=True)
    assert all(torch.equal(mine.nan_to_num(-1), theirs.nan_to_num(-1)) for mine, theirs in pairs)


def test_of_a_batch_the_rows_that_fall_back_are_the_backbones_to_the_bit():
    best = routed(system(Dense(), 3)).confidence[:, 1:].amax(dim=1)
    model = system(Threshold(best.median().item() + 1e-6), 3)  # the lower two of four fall back
    embedding, tokens = asked(model)
    with torch.no_grad():
        logits, routing = model.decode_routed(embedding, tokens)
        back = routing.selection.fell_back
        assert back.sum() == 2
        for rows, same in ((back, True), (~back, False)):
            some = embedding[rows], PromptTokens(*(part[rows] for part in tokens))
            assert torch.equal(logits[rows], model.backbone.decode(*some)) == same


def test_each_chosen_expert_runs_once_a_batch_and_no_other_is_made():
    for rule in (Forced(2), Threshold(0.0), TopK(2), Dense()):
        model = system(rule, 3)
        names = {name for row in routed(model).answered for name in row}
        assert model.bank.calls == dict.fromkeys(names, 1), rule
        assert set(model.bank.held) <= names | {model.bank.ids[0]}


def test_all_that_may_learn_leaves_the_backbone_as_it_was():
    model = system(Dense(), 2)
    before, gate = fingerprint(model.backbone), fingerprint(model.gate)
    question = asked(model)
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model.decode(*question).square().mean().backward()
    step.step()
    assert fingerprint(model.backbone) == before
    assert fingerprint(model.gate) != gate


def test_it_keeps_nothing_of_an_answer():
    model = system(Forced(1), 3)
    before = {name: id(value) for name, value in vars(model).items()}
    routed(model)
    routed(model.choosing(Forced(2)))
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert routed(model).answered == ({model.bank.ids[1]: 1.0},) * 4


def test_all_experts_fused_are_their_weighted_mean():
    model = system(Dense(), 2)
    fused = decoded(model)
    weights = routed(model).confidence
    alone = [decoded(model.choosing(Forced(index))) for index in range(3)]
    expected = sum(answer * weights[:, i, None, None, None, None] for i, answer in enumerate(alone))
    torch.testing.assert_close(fused, expected)


def test_fusing_probabilities_gives_another_mask_than_fusing_logits():
    model = system(TopK(2), 2)
    logits = decoded(model)
    other = model.choosing(TopK(2), "probabilities")
    assert not torch.allclose(decoded(other), logits)
    assert model.fusion == "logits"


def test_raw_weights_are_refused_when_a_mixture_is_made():
    with pytest.raises(ConfigError, match="keeps raw confidences"):
        system(TopK(2, raw=True), 2)
    with pytest.raises(ConfigError, match="fusing probabilities averages"):
        system(TopK(2), 2).choosing(TopK(1, raw=True), "probabilities")


def test_a_bank_or_gate_of_another_model_is_refused():
    model = system(Threshold(), 2)
    other = ExpertBank(model.bank.ids, expert, copy.deepcopy(model.backbone.mask_decoder))
    with pytest.raises(ConfigError, match="another decoder than the backbone's"):
        SamMed3DMoE(model.backbone, other, model.gate)
    with pytest.raises(ConfigError, match="the gate has 4 columns, the bank 3 experts: general, expert-0"):
        SamMed3DMoE(model.backbone, model.bank, gating_network(SIZES.out_channels, 4, 8))


class Counted(SamMed3D):
    """A model that counts the regions it embeds."""

    embedded = 0

    def encode(self, image, dtype=None):
        self.embedded += len(image)
        return super().encode(image, dtype)


def with_whole(rule: SelectionRule, patch_size: int = 4) -> tuple[SamMed3DMoE, Counted]:
    """A mixture whose expert 2 of 0 to 2 has its own encoder."""
    model = system(rule, 2)
    torch.manual_seed(9)
    own = Counted(dataclasses.replace(SIZES, patch_size=patch_size)).eval()
    make = {"expert-0": lambda: expert("expert-0"), "expert-1": lambda: WholeExpert(own)}
    bank = ExpertBank(model.bank.ids, lambda name: make[name](), model.backbone.mask_decoder)
    return SamMed3DMoE(model.backbone, bank, model.gate, rule, keep_images=True), own


def test_a_whole_expert_embeds_a_region_only_when_chosen_and_then_once():
    model, own = with_whole(Forced(0))
    question = asked(model)
    with torch.no_grad():
        assert torch.equal(model.decode(*question), model.backbone.decode(*question))
        model.choosing(Forced(1)).decode(*question)
        assert own.embedded == 0
        model = model.choosing(Forced(2))
        answer = model.decode(*question)
        assert own.embedded == 4
        assert torch.equal(answer, own.decode(*asked(own)))
        again = model.encode_prompt(torch.ones(4, 1, 3), torch.ones(4, 1, dtype=torch.long), None, None)
        model.decode(question[0], again)
        assert own.embedded == 8  # four by `asked` of itself above, none again


def test_of_a_batch_a_whole_expert_embeds_the_rows_that_chose_it():
    model, own = with_whole(Dense())
    confidence = routed(model).confidence
    own.embedded = 0
    share = float(confidence[:, 1:].amax(dim=1).median()) + 1e-6
    answered = routed(model.choosing(Threshold(share))).answered
    assert own.embedded == sum("expert-1" in row for row in answered) < 4


def test_a_whole_expert_of_another_resolution_answers_on_the_backbones():
    model, own = with_whole(Forced(2), patch_size=8)
    assert own.sizes.low_res == 8 != model.sizes.low_res
    assert decoded(model).shape == (4, 1, 16, 16, 16)


def test_images_are_forgotten_with_their_embeddings_and_without_one_a_whole_expert_is_no_help():
    model, _ = with_whole(Forced(2))
    embedding, tokens = asked(model)
    with torch.no_grad(), pytest.raises(ConfigError, match="embedded by another model"):
        model.decode(embedding.clone(), tokens)
    with torch.no_grad():
        model.decode(embedding, tokens)
    whole = model.bank.decoder(2)
    kept = model._remembered
    assert len(kept.images) == len(whole._kept) == 1
    del embedding, tokens
    gc.collect()
    assert len(kept.images) == len(kept.prompts) == len(whole._kept) == 0
