"""An expert's decoder learns on what the frozen encoder saw, and nothing else does."""

import copy

import pytest
import torch

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.lora import load_lora
from sam_moe.registry import LoraRanks as Ranks
from sam_moe.systems.sam_med3d_moe.experts.decoder import Decoder
from sam_moe.systems.sam_med3d_moe.experts.lora import Lora
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded, keep_embedded
from sam_moe.systems.sam_med3d_moe.finetune.expert import ExpertLoss, ExpertValidation, answering
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.pretrain.validation import ModelValidation
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting, conversation_loss
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Regions
from sam_moe.weights.checksums import fingerprint

LORA = Ranks(rank=2, alpha=4.0, per_layer={"output_upscaling.0": 3})


@pytest.fixture
def base(sizes):
    return fresh_model(sizes, 0).eval().requires_grad_(False)


def held_out(scans):
    """The regions that a general model is validated on."""
    return Regions(scans, Cut(16), 7, appearance=Appearance(0.0))


@pytest.fixture
def regions(base, scans, tmp_path):
    path = tmp_path / "e.safetensors"
    keep_embedded(lambda: held_out(scans), 9, base, path, "")
    return Embedded(path)


def learners(base):
    return {
        "decoder": Decoder().learner(base.mask_decoder, None, 0),
        "lora": Lora().learner(base.mask_decoder, LORA, 0),
    }


def first(regions):
    """A batch of the first four."""
    return dict(zip(("embedding", "target"), next(regions.batches(4)), strict=True))


def step(loss, regions, rate=0.01):
    """Move all that has a gradient, however small it is."""
    loss.zero_grad()
    loss(first(regions), torch.Generator().manual_seed(5)).backward()
    with torch.no_grad():
        for p in loss.parameters():
            if p.requires_grad:
                p -= rate * p.grad.sign()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["decoder", "lora"])
def test_what_learns_is_the_expert_alone_and_all_of_it(base, regions, kind):
    before, learner = fingerprint(base), learners(base)[kind]
    loss = ExpertLoss(base, learner, Prompting((0.0, 1.0)))
    start = copy.deepcopy(learner.state_dict())
    for _ in range(2):  # a delta's second factor has a gradient once the first one is not zero
        step(loss, regions)
    assert fingerprint(base) == before
    frozen = {name for name, p in learner.named_parameters() if not p.requires_grad}
    kept = {name for name, tensor in learner.state_dict().items() if torch.equal(tensor, start[name])}
    assert frozen and kept == frozen
    heads = {"iou_prediction_head", *(f"output_hypernetworks_mlps.{n}" for n in (1, 2, 3))}
    assert all(any(name.startswith(head) for name in frozen) for head in heads)
    assert {name.partition(".")[0] for name in loss.state_dict()} == {"decoder"}


@pytest.mark.parametrize("kind", ["decoder", "lora"])
def test_a_new_expert_costs_what_the_general_model_costs(base, regions, scans, kind):
    """To the rounding of embeddings: the same regions with the same prompts."""
    loss = ExpertLoss(base, learners(base)[kind])
    batch = first(regions)
    found = loss(batch, torch.Generator().manual_seed(5))
    general, stream = PromptedLoss(base), held_out(scans)
    images = torch.stack([stream[n]["image"] for n in range(4)])
    with torch.no_grad():
        wanted = general({**batch, "image": images}, torch.Generator().manual_seed(5))
        same = conversation_loss(base, *batch.values(), torch.Generator().manual_seed(5), Prompting())
    assert found.item() == pytest.approx(same.item(), abs=1e-6)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-3)


@pytest.mark.slow
def test_validation_says_of_the_base_what_the_general_validation_says(base, regions, scans, sizes):
    plain = ModelValidation(lambda: scans, held_out, 9, sizes)(base.state_dict())
    validate = ExpertValidation(base, Decoder().learner(base.mask_decoder, None, 0), regions)
    assert validate.of_the_base() == pytest.approx(plain, abs=0.01)
    assert validate(base.mask_decoder.state_dict()) == validate.of_the_base()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["decoder", "lora"])
def test_validation_measures_the_weights_it_is_given_and_not_those_being_learnt(base, regions, kind):
    learner = learners(base)[kind]
    weights = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    validate = ExpertValidation(base, learner, regions)
    first = validate(weights)
    for _ in range(3):
        step(ExpertLoss(base, learner), regions)
    assert validate(weights) == first == validate.of_the_base()
    assert validate(learner.state_dict()) != first


@pytest.mark.slow
def test_stored_deltas_make_the_decoder_that_was_learnt(base, regions):
    learner = Lora().learner(base.mask_decoder, LORA, 0)
    step(ExpertLoss(base, learner), regions)
    state = Lora().stored(learner, learner.state_dict())
    assert state["output_upscaling.0.down"].shape[0] == 3 and state["output_upscaling.3.down"].shape[0] == 2
    again = answering(base, load_lora(base.mask_decoder, state, LORA.alpha))
    embedding, target = next(regions.batches(2))
    rng = [torch.Generator().manual_seed(1) for _ in range(2)]
    prompting = Prompting((0.0, 1.0))
    with torch.no_grad():
        wanted = conversation_loss(answering(base, learner), embedding, target, rng[0], prompting)
        assert torch.equal(conversation_loss(again, embedding, target, rng[1], prompting), wanted)


def test_deltas_that_go_on_learn_from_where_they_stood(base, regions):
    learner = Lora().learner(base.mask_decoder, LORA, 0)
    step(ExpertLoss(base, learner), regions)
    state = Lora().stored(learner, learner.state_dict())
    onward = Lora().learner(base.mask_decoder, LORA, 0, state)
    assert all(torch.equal(t, state[n]) for n, t in Lora().stored(onward, onward.state_dict()).items())
    step(ExpertLoss(base, onward), regions)
    now = Lora().stored(onward, onward.state_dict())
    changed = {name for name, tensor in now.items() if not torch.equal(tensor, state[name])}
    assert {f"output_upscaling.{n}.{part}" for n in (0, 3) for part in ("up", "down")} <= changed


def test_a_layer_that_is_not_there_is_named(base):
    with pytest.raises(WeightsError, match=r"no low-rank delta for output_upscaling\.2"):
        Lora().learner(base.mask_decoder, Ranks(rank=2, alpha=1.0, per_layer={"output_upscaling.2": 1}), 0)
