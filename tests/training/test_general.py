"""The stream of regions is the same everywhere, and the three ways to prompt are the model's own."""

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
from sam_moe.training.crops import CropRanges
from sam_moe.training.general import PromptedLoss, Regions, dice_of, fresh_model
from sam_moe.training.losses import dice_and_cross_entropy
from sam_moe.training.phantoms import draw_phantom
from sam_moe.training.prompting import boxes_around, click_inside
from sam_moe.training.sources import Scan

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
    found = [stream([], phantom_share=1.0)[n] for n in range(2)]
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
        "from sam_moe.training.general import Regions; from sam_moe.training.sources import read_cache\n"
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
    samples = stream([flat_scan()], curriculum=200, spoiled=False)
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
        crop = draw_phantom(16, drawing)
    sample = stream([], phantom_share=1.0, spoiled=False, normalisation=how)[0]
    assert torch.equal(sample["image"][0], normalise(crop.image, how))
    assert torch.equal(sample["target"], crop.target)


def test_each_way_gets_the_answer_that_the_model_gives_to_this_prompt_alone(sizes, batch):
    image, target = batch
    model = fresh_model(sizes, 0).eval()
    _, (seen,) = PromptedLoss(model, 1)(image, target, rng(4))
    drawing = rng(4)
    box = boxes_around(target, 0.06, drawing)
    click = click_inside(target, 2, drawing, 0.9)[:, None]
    one, nothing = torch.ones(2, 1, dtype=torch.long), torch.zeros(2, 1, 8, 8, 8)
    corners, drawn = lower_box(box, "corners", 16, 8), lower_box(box, "mask", 16, 8)
    alone = [
        model(image, click, one, None, nothing),
        model(image, None, None, corners.boxes, nothing),
        model(image, drawn.points, drawn.labels, None, drawn.mask),
    ]
    torch.testing.assert_close(seen, upsample(torch.cat(alone)[:, 0], 16), atol=1e-4, rtol=1e-4)


def test_the_three_ways_have_equal_numbers_of_tokens_in_every_round(sizes, batch):
    image, target = batch
    loss = PromptedLoss(fresh_model(sizes, 0), 4)
    counts = []
    loss.model.mask_decoder.register_forward_pre_hook(lambda _, args: counts.append(args[2].shape[:2]))
    value, seen = loss(image, target, rng())
    assert counts == [(6, 2), (6, 3), (6, 4), (6, 5)]  # a click and the padding, or two corners; then clicks
    assert [tuple(s.shape) for s in seen] == [(6, 16, 16, 16)] * 4 and value.shape == ()


def test_the_loss_is_the_mean_over_rounds_and_ways(sizes, batch):
    image, target = batch
    loss = PromptedLoss(fresh_model(sizes, 0), 2)
    logits = []
    loss.model.mask_decoder.register_forward_hook(lambda _, __, out: logits.append(out.logits[:, 0]))
    value, _ = loss(image, target, rng())
    soft = torch.nn.functional.avg_pool3d(target.repeat(3, 1, 1, 1)[:, None].float(), 2)[:, 0]
    expected = torch.stack([dice_and_cross_entropy(answer, soft) for answer in logits]).mean()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_learnable_parameter_takes_part_so_that_processes_can_share_gradients(sizes, batch, rounds):
    loss = PromptedLoss(fresh_model(sizes, 0), rounds)
    loss(*batch, rng())[0].backward()
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


def test_dice_by_hand():
    target = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    target[0, 0], target[1, 0] = True, True  # 4 voxels each; none in the third
    logits = torch.full((3, 2, 2, 2), -1.0)
    logits[0, 0, 0], logits[1, 1] = 1.0, 1.0  # 2 of the 4; 4 others; none
    assert dice_of(logits, target).tolist() == pytest.approx([2 * 2 / 6, 0.0, 0.0])
