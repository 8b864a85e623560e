"""SAM-Med3D-MoE keeps the contract of all systems; and what is its own."""

import copy
import dataclasses
import gc

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE, WholeExpert
from tests.systems import contract

SIZES = Sizes(
    image_size=16,
    patch_size=4,
    embed_dim=24,
    depth=1,
    num_heads=2,
    window_size=4,
    global_attn_indexes=(0,),
    out_channels=48,
    decoder_mlp_dim=32,
    iou_hidden_dim=16,
)


def expert(name: str) -> MaskDecoder:
    """A decoder with weights of its own for each name."""
    torch.manual_seed(sum(map(ord, name)))
    return MaskDecoder(SIZES).eval().requires_grad_(False)


def system(rule: SelectionRule, specialists: int) -> SamMed3DMoE:
    torch.manual_seed(0)
    backbone = SamMed3D(SIZES).eval()
    gate = gating_network(SIZES.out_channels, 1 + specialists, hidden=8)
    for parameter in gate.columns.parameters():
        nn.init.normal_(parameter, std=0.5)
    ids = ("general", *(f"expert-{i}" for i in range(specialists)))
    return SamMed3DMoE(backbone, ExpertBank(ids, expert, backbone.mask_decoder), gate, rule)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(system)


def decoded(model: SamMed3DMoE) -> torch.Tensor:
    with torch.no_grad():
        return model.decode(*contract.asked(model))


def test_all_experts_fused_are_their_weighted_mean():
    model = system(Dense(), 2)
    fused = decoded(model)
    weights = contract.routed(model).confidence
    alone = [decoded(model.choosing(Forced(index))) for index in range(3)]
    expected = sum(answer * weights[:, i, None, None, None, None] for i, answer in enumerate(alone))
    torch.testing.assert_close(fused, expected)


def test_fusing_probabilities_gives_another_mask_than_fusing_logits():
    model = system(TopK(2), 2)
    logits = decoded(model)
    other = model.choosing(TopK(2), "probabilities")
    assert not torch.allclose(decoded(other), logits)
    assert model.fusion == "logits"


def test_a_removed_expert_is_gone_from_bank_and_gate_and_the_others_stay():
    model = system(Forced(0), 3)
    before = contract.routed(model).logits
    model.remove_expert("expert-1")
    after = contract.routed(model)
    assert after.ids == ("general", "expert-0", "expert-2")
    assert torch.equal(after.logits, before[:, [0, 1, 3]])
    for name in ("general", "expert-1"):
        with pytest.raises(ConfigError, match="cannot be removed"):
            model.remove_expert(name)
    assert model.gate.experts == len(model.bank.ids) == 3


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
    question = contract.asked(model)
    with torch.no_grad():
        assert torch.equal(model.decode(*question), model.backbone.decode(*question))
        model.choosing(Forced(1)).decode(*question)
        assert own.embedded == 0
        model = model.choosing(Forced(2))
        answer = model.decode(*question)
        assert own.embedded == 4
        assert torch.equal(answer, own.decode(*contract.asked(own)))
        again = model.encode_prompt(torch.ones(4, 1, 3), torch.ones(4, 1, dtype=torch.long), None, None)
        model.decode(question[0], again)
        assert own.embedded == 8  # four by `asked` of itself above, none again


def test_of_a_batch_a_whole_expert_embeds_the_rows_that_chose_it():
    model, own = with_whole(Dense())
    confidence = contract.routed(model).confidence
    own.embedded = 0
    share = float(confidence[:, 1:].amax(dim=1).median()) + 1e-6
    answered = contract.routed(model.choosing(Threshold(share))).answered
    assert own.embedded == sum("expert-1" in row for row in answered) < 4


def test_a_whole_expert_of_another_resolution_answers_on_the_backbones():
    model, own = with_whole(Forced(2), patch_size=8)
    assert own.sizes.low_res == 8 != model.sizes.low_res
    assert decoded(model).shape == (4, 1, 16, 16, 16)


def test_images_are_forgotten_with_their_embeddings_and_without_one_a_whole_expert_is_no_help():
    model, _ = with_whole(Forced(2))
    embedding, tokens = contract.asked(model)
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
