"""Each row of a step is asked as if it were alone, and corrected where it is wrong."""

from dataclasses import replace

import pytest
import torch

from sam_moe.hosts.sam3d.lowering import lower_box
from sam_moe.hosts.sam3d.normalise import normalise
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.space.upsampling import upsample
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.conversation import (
    Conversation,
    Opening,
    Prompting,
    dice_of,
    taught_strategies,
)
from sam_moe.training.engine.seeds import prompt_rng
from sam_moe.training.scans.losses import dice_and_cross_entropy
from sam_moe.training.scans.phantoms import draw_phantom
from sam_moe.training.scans.prompting import boxes_around, click_inside


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    found = [draw_phantom(16, rng(n), 2) for n in range(2)]
    return torch.stack([normalise(f.image, "mean")[None] for f in found]), torch.stack(
        [f.targets for f in found]
    )


def prompts(target, corners, drawn, drawing, jitter=0.06):
    """What each row is asked, worked out row by row: points, labels, corners and mask."""
    targets, one = target.flatten(0, 1), torch.ones(1, 1, dtype=torch.long)
    boxes = boxes_around(targets[torch.cat([corners, drawn])], jitter, drawing)
    asked = [
        (at[None, None], one, None, torch.zeros(1, 1, 8, 8, 8))
        for at in click_inside(targets, 2, drawing, 0.9)
    ]
    for box in boxes[: len(corners)]:
        asked.append((None, None, lower_box(box[None], "corners", 16, 8).boxes, torch.zeros(1, 1, 8, 8, 8)))
    for box in boxes[len(corners) :]:
        lowered = lower_box(box[None], "mask", 16, 8)
        asked.append((lowered.points, one, None, lowered.mask))
    return asked, torch.cat([torch.arange(len(targets)), corners, drawn])


def ways(drawing):
    """Of two regions with two targets each, those that a step asks by corners and those by a drawn box."""
    others = torch.tensor([1, 3])[torch.randperm(2, generator=drawing)]
    return torch.cat([torch.tensor([0, 2]), others[:1]]), torch.cat([torch.tensor([0, 2]), others[1:]])


def test_each_row_gets_the_answer_that_the_model_gives_to_its_prompt_alone(sizes, batch):
    image, target = batch
    model, corners, drawn = fresh_model(sizes, 0).eval(), torch.tensor([3, 0]), torch.tensor([1, 2, 3])
    talk = Conversation(
        model, model.encode(image), target, rng(4), Opening({"corners": corners, "mask": drawn}, 0.06)
    )
    asked, of = prompts(target, corners, drawn, rng(4))
    first = talk.ask()
    alone = torch.cat([model(image[n // 2][None], *prompt) for n, prompt in zip(of, asked, strict=True)])
    torch.testing.assert_close(first, alone, atol=1e-4, rtol=1e-4)
    assert torch.equal(talk.wanted, target.flatten(0, 1)[of])
    talk.correct(first)
    second, alone = talk.ask(), []
    for row, (points, labels, box, _) in enumerate(asked):
        at, label = talk.clicks[row, None, 1:], talk.labels[row, None, 1:]
        at, label = (
            (at, label) if box is not None else (torch.cat([points, at], 1), torch.cat([labels, label], 1))
        )
        alone.append(model(image[of[row] // 2][None], at, label, box, first[row, None]))
    torch.testing.assert_close(second, torch.cat(alone), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(talk.whole(second), upsample(second[:, 0], 16))


def test_a_loss_without_corrections_is_the_mean_over_targets_and_ways(sizes, batch):
    image, target = batch
    model, drawing = fresh_model(sizes, 0), rng(7)
    asked, of = prompts(target, *ways(drawing), drawing)
    losses = []
    for number, prompt in zip(of.tolist(), asked, strict=True):
        embedding = model.encode(image[number // 2][None])
        logits = model.decode(embedding, model.encode_prompt(*prompt))[:, 0]
        soft = target[number // 2, number % 2].float().view(8, 2, 8, 2, 8, 2).mean(dim=(1, 3, 5))
        losses.append(dice_and_cross_entropy(logits, soft[None]))
    torch.testing.assert_close(
        PromptedLoss(model, Prompting((1.0,)))({"image": image, "target": target}, rng(7)),
        torch.cat(losses).mean(),
    )


@pytest.mark.parametrize("depth", [1, 3])
def test_of_a_conversation_the_first_and_the_last_answer_teach(sizes, batch, depth):
    image, target = batch
    loss, calls, answers = PromptedLoss(fresh_model(sizes, 0), Prompting((*[0.0] * depth, 1.0))), [], []
    decoder = loss.model.mask_decoder
    decoder.register_forward_pre_hook(lambda _, args: calls.append((torch.is_grad_enabled(), args)))
    decoder.register_forward_hook(lambda _, __, out: answers.append(out.logits))
    value = loss({"image": image, "target": target}, rng())
    value.backward()
    assert [grad for grad, _ in calls] == [True, *[False] * (depth - 1), True]
    tokens = [tuple(args[2].shape[:2]) for _, args in calls]
    assert tokens == [(10, 2 + turn) for turn in range(depth + 1)]  # one click more a round
    wanted = target.flatten(0, 1)[torch.cat([torch.arange(4), *ways(rng())])]
    soft = wanted.float().view(10, 8, 2, 8, 2, 8, 2).mean(dim=(2, 4, 6))
    ends = torch.stack([dice_and_cross_entropy(answers[n][:, 0], soft).mean() for n in (0, -1)])
    torch.testing.assert_close(value, ends.mean())
    # The decoder's gradients are those of these two calls, with their inputs taken as given.
    learnt = [p for p in decoder.parameters() if p.requires_grad]
    given = [[x.detach() for x in calls[n][1]] for n in (0, -1)]
    again = [decoder(*args).logits[:, 0] for args in given]
    by_hand = torch.stack([dice_and_cross_entropy(answer, soft).mean() for answer in again]).mean()
    for parameter, gradient in zip(learnt, torch.autograd.grad(by_hand, learnt), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)


def test_a_training_asks_boxes_as_the_card_and_the_weights_have_it():
    assert taught_strategies("mask", False) == ("mask",)
    assert taught_strategies("center", False) == ("center",)
    assert taught_strategies("mask", True) == taught_strategies("corners", True) == ("corners", "mask")
    assert taught_strategies("center", True) == ("corners", "center")


@pytest.mark.parametrize("strategy", ["mask", "center"])
def test_weights_without_corner_embeddings_are_asked_by_the_cards_strategy_alone(sizes, batch, strategy):
    image, target = batch
    model, drawing = fresh_model(replace(sizes, corner_embeddings=False), 0), rng(7)
    rows = torch.tensor([0, 2, 1, 3])[torch.cat([torch.arange(2), 2 + torch.randperm(2, generator=drawing)])]
    boxes = boxes_around(target.flatten(0, 1)[rows], 0.06, drawing)
    clicks = click_inside(target.flatten(0, 1), 2, drawing, 0.9)
    middle = (boxes[:, 0] + boxes[:, 1] - 1) / 2  # of the first and the last voxel inside
    losses = []
    for row, (number, at) in enumerate(
        zip([0, 1, 2, 3, *rows.tolist()], torch.cat([clicks, middle]), strict=True)
    ):
        drawn = row >= 4 and strategy == "mask"
        mask = lower_box(boxes[row - 4, None], "mask", 16, 8).mask if drawn else torch.zeros(1, 1, 8, 8, 8)
        one = torch.ones(1, 1, dtype=torch.long)
        logits = model(image[number // 2][None], at[None, None], one, None, mask)[:, 0]
        soft = target[number // 2, number % 2].float().view(8, 2, 8, 2, 8, 2).mean(dim=(1, 3, 5))
        losses.append(dice_and_cross_entropy(logits, soft[None]))
    found = PromptedLoss(model, Prompting((1.0,), box_strategy=strategy))(
        {"image": image, "target": target}, rng(7)
    )
    torch.testing.assert_close(found, torch.cat(losses).mean())


@pytest.mark.slow
def test_conversations_are_as_long_as_their_shares_say(sizes, batch):
    loss, calls = PromptedLoss(fresh_model(sizes, 0), Prompting((0.5, 0.0, 0.5))), []
    loss.model.mask_decoder.register_forward_hook(lambda *_: calls.append(1))
    lengths = []
    for step in range(40):
        calls.clear()
        loss(dict(zip(("image", "target"), batch, strict=True)), prompt_rng(0, step, 0))
        lengths.append(len(calls))
    assert set(lengths) == {1, 3} and 20 - 10 <= lengths.count(3) <= 20 + 10  # 3 * sqrt(0.25 * 40) = 9.5


def test_a_correction_lies_in_a_wrong_voxel_of_the_answer_and_says_how_it_is_wrong(sizes, batch):
    image, target = batch
    model, every = fresh_model(sizes, 0), torch.arange(4)
    boxed = {"corners": every, "mask": every[:1]}
    talk = Conversation(model, model.encode(image), target, rng(), Opening(boxed, 0.06))
    true = target.flatten(0, 1)[torch.cat([every, every, every[:1]])]
    inside = true.float().view(9, 8, 2, 8, 2, 8, 2).mean(dim=(2, 4, 6)) >= 0.5
    logits = torch.where(inside, 1.0, -1.0)
    logits[:4], logits[4:8] = 1.0, -1.0  # too large, nothing, and exact
    talk.correct(logits[:, None])
    assert talk.labels[:, 1].tolist() == [0] * 4 + [1] * 4 + [-1]
    at = (talk.clicks[:, 1] - 0.5) / 2  # the middle of the 2x2x2 voxels that a logit stands for
    assert torch.equal(at, at.round())
    hit = [bool(inside[row][tuple(at[row].long())]) for row in range(8)]
    assert hit == [False] * 4 + [True] * 4
    assert torch.equal(talk.mask, logits[:, None])


@pytest.mark.slow
def test_gradients_of_a_region_asked_often_are_the_same_bits_with_several_threads():
    sizes = Sizes(32, 4, 6, 1, out_channels=48, corner_embeddings=True, encoder="conv", conv_widths=(4,))
    model, encoded, rows = fresh_model(sizes, 0), [], torch.arange(16)
    model.image_encoder.register_forward_hook(lambda _, __, out: encoded.append(out))
    image, target = torch.randn(1, 1, 32, 32, 32, generator=rng()), torch.ones(1, 16, 32, 32, 32) > 0
    talk = Conversation(
        model, model.encode(image), target, rng(), Opening({"corners": rows, "mask": rows}, 0.0)
    )
    upstream = torch.randn(talk.embedding.shape, generator=rng())
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [
            torch.autograd.grad(talk.embedding, encoded, upstream, retain_graph=True)[0] for _ in range(60)
        ]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found)


def test_dice_by_hand():
    target = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    target[0, 0], target[1, 0] = True, True  # 4 voxels each; none in the third
    logits = torch.full((3, 2, 2, 2), -1.0)
    logits[0, 0, 0], logits[1, 1] = 1.0, 1.0  # 2 of the 4; 4 others; none
    assert dice_of(logits, target).tolist() == pytest.approx([2 * 2 / 6, 0.0, 0.0])
