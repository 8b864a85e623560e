"""The general model learns with all that is prompted, and encodes each region once."""

import pytest
import torch
from torch.utils.data import default_collate

from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting
from sam_moe.systems.sam_med3d_moe.prompted.regions import Cut, Regions


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    return default_collate([Regions([], Cut(16, targets=2), 3)[n] for n in range(2)])


def test_a_region_is_encoded_once_for_all_that_is_asked_about_it(sizes, batch):
    loss, encoded = PromptedLoss(fresh_model(sizes, 0), Prompting((0.0, 1.0))), []
    loss.model.image_encoder.register_forward_hook(lambda _, args, out: encoded.append(len(out)))
    loss(batch, rng())
    assert encoded == [2]


@pytest.mark.parametrize("depths", [(1.0,), (0.0, 1.0)])
@pytest.mark.parametrize(("regions", "targets"), [(1, 1), (1, 3), (2, 2)])
def test_every_learnable_parameter_takes_part_so_that_processes_can_share_gradients(
    sizes, batch, depths, regions, targets
):
    loss = PromptedLoss(fresh_model(sizes, 0), Prompting(depths))
    target = batch["target"][:regions].repeat(1, 2, 1, 1, 1)[:, :targets]
    loss({"image": batch["image"][:regions], "target": target}, rng()).backward()
    learnt = {name for name, p in loss.named_parameters() if p.requires_grad}
    assert {name for name, p in loss.named_parameters() if p.grad is not None} == learnt
    frozen = {name.split(".", 1)[1] for name, p in loss.named_parameters() if not p.requires_grad}
    assert "prompt_encoder.no_mask_embed.weight" in frozen
    assert all("no_mask_embed" in n or "iou_prediction" in n or "output_hypernetworks" in n for n in frozen)


def test_a_fresh_model_is_made_by_its_seed(sizes):
    torch.manual_seed(9)
    a, b, other = (fresh_model(sizes, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], other[k]) for k in a)
    assert 0.01 < a["image_encoder.pos_embed"].std() < 0.03
