"""The stream of regions is the same everywhere, and each row of a step is asked as if it were alone."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sam_moe.errors import SamMoeError
from sam_moe.sam3d.lowering import lower_box
from sam_moe.sam3d.model import upsample
from sam_moe.sam3d.normalise import normalise
from sam_moe.sam3d.sizes import Sizes
from sam_moe.training.cache import Scan
from sam_moe.training.crops import CropRanges
from sam_moe.training.general import Conversation, PromptedLoss, Regions, dice_of, fresh_model
from sam_moe.training.losses import dice_and_cross_entropy
from sam_moe.training.phantoms import draw_phantom
from sam_moe.training.prompting import boxes_around, click_inside
from sam_moe.training.seeds import prompt_rng

ROOT = Path(__file__).resolve().parents[2]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def flat_scan(name="g"):
    """A scan of nothing but zeros: a region cut from it has no contrast, which every phantom has."""
    labels = torch.zeros(48, 48, 48, dtype=torch.int16)
    labels[20:28, 20:28, 20:28] = 1
    image = torch.zeros(48, 48, 48, dtype=torch.int16)
    return Scan("x", name, (image,), ((1.0, 1.0, 1.0),), labels, {1: "one"})


NEAR = CropRanges(0.0, click_spacing_mm=(1.0, 1.0), rotated_share=0.0, jitter_voxels=2.0)


def stream(scans, **changes):
    kinds = {"weights": {}, "phantom_share": 0.1, "curriculum": 0, "ranges": NEAR, **changes}
    return Regions(scans, 16, 3, 10**6, **kinds)


@pytest.fixture
def batch():
    found = [stream([], phantom_share=1.0, targets=2)[n] for n in range(2)]
    return torch.stack([f["image"] for f in found]), torch.stack([f["target"] for f in found])


def test_sample_n_is_the_same_in_any_order_and_differs_from_the_others(scans):
    there, back = stream(scans, ranges=None), stream(scans, ranges=None)
    first = [there[n] for n in range(6)]
    again = [back[n] for n in reversed(range(6))][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["target"], b["target"])
    assert not any(torch.equal(a["image"], b["image"]) for a, b in pairwise(first))


@pytest.mark.slow
def test_sample_n_is_the_same_in_every_process(scans, tmp_path):
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from sam_moe.training.general import Regions; from sam_moe.training.cache import read_cache\n"
        "torch.set_num_threads(1)\n"
        "stream = Regions(read_cache(Path('train.safetensors')), 16, 3, 10**6, {}, 0.1)\n"
        "torch.save([stream[n] for n in (5, 900_000)], 'samples.pt')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
    here = stream(scans, ranges=None)
    for number, there in zip((5, 900_000), torch.load(tmp_path / "samples.pt"), strict=True):
        assert torch.equal(here[number]["image"], there["image"])
        assert torch.equal(here[number]["target"], there["target"])


@pytest.mark.slow
def test_phantoms_are_half_of_the_curriculum_and_their_share_afterwards():
    samples = stream([flat_scan()], curriculum=200, spoil_share=0.0)
    phantom = [bool(samples[n]["image"].std() > 0) for n in range(400)]
    # three standard deviations: 3 * sqrt(0.25 * 200) = 21, 3 * sqrt(0.09 * 200) = 13
    assert 100 - 21 <= sum(phantom[:200]) <= 100 + 21
    assert 20 - 13 <= sum(phantom[200:]) <= 20 + 13


@pytest.mark.slow
def test_sets_are_drawn_by_their_weights():
    big = flat_scan("a")
    big.labels[16:32, 16:32, 16:32] = 1
    samples = stream([big, flat_scan("b")], weights={"a": 3.0}, phantom_share=0.0)
    from_a = sum(bool(samples[n]["target"].sum() > 8**3) for n in range(200))
    assert 150 - 19 <= from_a <= 150 + 19  # 3 * sqrt(0.1875 * 200) = 18.4


def test_without_scans_all_are_phantoms():
    assert stream([], phantom_share=0.0)[0]["target"].any()


def test_scans_without_anything_to_see_are_an_error_and_no_endless_search():
    scan = flat_scan()
    scan.labels[:] = 0
    scan.labels[4, 4, 4] = 1
    with pytest.raises(SamMoeError, match=r"1000 draws gave no region for sample 7"):
        stream([scan], phantom_share=0.0)[7]


@pytest.mark.parametrize("how", ["mean", "positive"])
def test_regions_are_normalised_as_prediction_will(how):
    drawing, crop = rng(3 * 1_000_003), None
    while crop is None:
        crop = draw_phantom(16, drawing, 2)
    sample = stream([], phantom_share=1.0, spoil_share=0.0, normalisation=how, targets=2)[0]
    assert torch.equal(sample["image"][0], normalise(crop.image, how))
    assert torch.equal(sample["target"], crop.targets) and len(crop.targets) == 2


@pytest.mark.slow
def test_a_share_of_the_regions_is_spoilt():
    plain, half = (stream([], spoil_share=share) for share in (0.0, 0.5))
    same = [torch.allclose(plain[n]["image"], half[n]["image"], atol=1e-3) for n in range(60)]
    # of the spoilt ones 0.14 are left as they were: 0.57 in all, three standard deviations are 0.19
    assert 0.57 - 0.19 < sum(same) / 60 < 0.57 + 0.19


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
    talk = Conversation(model, image, target, rng(4), corners, drawn, 0.06)
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
    torch.testing.assert_close(PromptedLoss(model, (1.0,))(image, target, rng(7)), torch.cat(losses).mean())


@pytest.mark.parametrize("depth", [1, 3])
def test_of_a_conversation_the_first_and_the_last_answer_teach(sizes, batch, depth):
    image, target = batch
    loss, heard, answers = PromptedLoss(fresh_model(sizes, 0), (*[0.0] * depth, 1.0)), [], []
    decoder = loss.model.mask_decoder
    decoder.register_forward_pre_hook(lambda _, args: heard.append((torch.is_grad_enabled(), args)))
    decoder.register_forward_hook(lambda _, __, out: answers.append(out.logits))
    value = loss(image, target, rng())
    value.backward()
    assert [grad for grad, _ in heard] == [True, *[False] * (depth - 1), True]
    tokens = [tuple(args[2].shape[:2]) for _, args in heard]
    assert tokens == [(10, 2 + turn) for turn in range(depth + 1)]  # one click more a round
    wanted = target.flatten(0, 1)[torch.cat([torch.arange(4), *ways(rng())])]
    soft = wanted.float().view(10, 8, 2, 8, 2, 8, 2).mean(dim=(2, 4, 6))
    ends = torch.stack([dice_and_cross_entropy(answers[n][:, 0], soft).mean() for n in (0, -1)])
    torch.testing.assert_close(value, ends.mean())
    # The decoder's gradients are those of these two calls, with what they heard taken as given.
    learnt = [p for p in decoder.parameters() if p.requires_grad]
    given = [[x.detach() for x in heard[n][1]] for n in (0, -1)]
    again = [decoder(*args).logits[:, 0] for args in given]
    by_hand = torch.stack([dice_and_cross_entropy(answer, soft).mean() for answer in again]).mean()
    for parameter, gradient in zip(learnt, torch.autograd.grad(by_hand, learnt), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)


def test_a_region_is_encoded_once_for_all_that_is_asked_about_it(sizes, batch):
    loss, encoded = PromptedLoss(fresh_model(sizes, 0), (0.0, 1.0)), []
    loss.model.image_encoder.register_forward_hook(lambda _, args, out: encoded.append(len(out)))
    loss(*batch, rng())
    assert encoded == [2]


@pytest.mark.slow
def test_conversations_are_as_long_as_their_shares_say(sizes, batch):
    loss, calls = PromptedLoss(fresh_model(sizes, 0), (0.5, 0.0, 0.5)), []
    loss.model.mask_decoder.register_forward_hook(lambda *_: calls.append(1))
    lengths = []
    for step in range(40):
        calls.clear()
        loss(*batch, prompt_rng(0, step, 0))
        lengths.append(len(calls))
    assert set(lengths) == {1, 3} and 20 - 10 <= lengths.count(3) <= 20 + 10  # 3 * sqrt(0.25 * 40) = 9.5


def test_a_correction_lies_in_a_wrong_voxel_of_the_answer_and_says_how_it_is_wrong(sizes, batch):
    image, target = batch
    every = torch.arange(4)
    talk = Conversation(fresh_model(sizes, 0), image, target, rng(), every, every[:1], 0.06)
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


@pytest.mark.parametrize("depths", [(1.0,), (0.0, 1.0)])
@pytest.mark.parametrize(("regions", "targets"), [(1, 1), (1, 3), (2, 2)])
def test_every_learnable_parameter_takes_part_so_that_processes_can_share_gradients(
    sizes, batch, depths, regions, targets
):
    image, target = batch
    loss = PromptedLoss(fresh_model(sizes, 0), depths)
    loss(image[:regions], target[:regions].repeat(1, 2, 1, 1, 1)[:, :targets], rng()).backward()
    learnt = {name for name, p in loss.named_parameters() if p.requires_grad}
    assert {name for name, p in loss.named_parameters() if p.grad is not None} == learnt
    frozen = {name.split(".", 1)[1] for name, p in loss.named_parameters() if not p.requires_grad}
    assert "prompt_encoder.no_mask_embed.weight" in frozen
    assert all("no_mask_embed" in n or "iou_prediction" in n or "output_hypernetworks" in n for n in frozen)


@pytest.mark.slow
def test_gradients_of_a_region_asked_often_are_the_same_bits_with_several_threads():
    sizes = Sizes(32, 4, 6, 1, out_channels=48, corner_embeddings=True, encoder="conv", conv_widths=(4,))
    model, encoded, rows = fresh_model(sizes, 0), [], torch.arange(16)
    model.image_encoder.register_forward_hook(lambda _, __, out: encoded.append(out))
    image, target = torch.randn(1, 1, 32, 32, 32, generator=rng()), torch.ones(1, 16, 32, 32, 32) > 0
    talk = Conversation(model, image, target, rng(), rows, rows, 0.0)
    heard = torch.randn(talk.embedding.shape, generator=rng())
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [torch.autograd.grad(talk.embedding, encoded, heard, retain_graph=True)[0] for _ in range(60)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found)


def test_a_fresh_model_is_made_by_its_seed(sizes):
    torch.manual_seed(9)
    a, b, other = (fresh_model(sizes, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], other[k]) for k in a)
    assert 0.01 < a["image_encoder.pos_embed"].std() < 0.03


def test_dice_by_hand():
    target = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    target[0, 0], target[1, 0] = True, True  # 4 voxels each; none in the third
    logits = torch.full((3, 2, 2, 2), -1.0)
    logits[0, 0, 0], logits[1, 1] = 1.0, 1.0  # 2 of the 4; 4 others; none
    assert dice_of(logits, target).tolist() == pytest.approx([2 * 2 / 6, 0.0, 0.0])
