"""What training minimises: by hand, and against MONAI's Dice and torch's entropy."""

from math import log

import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceLoss

from sam_moe.training.scans.losses import dice_and_cross_entropy


def test_an_answer_without_an_opinion_costs_a_third_and_the_logarithm_of_two():
    # p = (1/2, 1/2), t = (1, 0): Dice 1 - (2 * 1/2 + 1) / (1 + 1 + 1) = 1/3; entropy log 2
    loss = dice_and_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(loss, torch.tensor([1 / 3 + log(2)]))


def test_a_wrong_and_certain_answer_costs_its_certainty():
    # p = (0, 1), t = (1, 0): Dice 1 - 1 / 3; entropy 30 at each voxel
    loss = dice_and_cross_entropy(torch.tensor([[-30.0, 30.0]]), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(loss, torch.tensor([2 / 3 + 30.0]))


@given(st.integers(0, 10_000), st.floats(0.01, 2), st.booleans())
def test_it_is_monais_dice_plus_torchs_entropy(seed, smooth, soft):
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, 5, 6, 7, generator=rng, dtype=torch.float64)
    target = torch.rand(4, 5, 6, 7, generator=rng, dtype=torch.float64)
    target = target if soft else (target > 0.7).double()
    dice = DiceLoss(sigmoid=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")
    entropy = torch.nn.BCEWithLogitsLoss(reduction="none")(logits, target).mean(dim=(1, 2, 3))
    expected = dice(logits[:, None], target[:, None]).flatten() + entropy
    torch.testing.assert_close(dice_and_cross_entropy(logits, target, smooth), expected)


def test_each_answer_has_its_own_loss():
    logits, target = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.ones(3, 8)
    one_by_one = [dice_and_cross_entropy(logits[n : n + 1], target[:1]) for n in range(3)]
    torch.testing.assert_close(dice_and_cross_entropy(logits, target), torch.cat(one_by_one))
