"""Every expert is prompted with what its owner is: the table holds what the gate will see, and every Dice."""

import copy

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.gate import gate_input
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Clicked, Conversation, Opening
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Regions
from sam_moe.systems.sam_med3d_moe.train_gate.asking import Asking, build_table
from sam_moe.systems.sam_med3d_moe.train_gate.members import Decoders
from sam_moe.systems.sam_med3d_moe.train_gate.regions import UNLABELLED, Drawn
from sam_moe.systems.sam_med3d_moe.train_gate.table import low_dice

NAN = float("nan")


@pytest.fixture
def model(sizes):
    return fresh_model(sizes, 0).eval()


@pytest.fixture
def decoders(model, sizes):
    return [model.mask_decoder, fresh_model(sizes, 1).mask_decoder.eval()]


@pytest.fixture
def regions():
    stream = Regions([], Cut(16), 3, appearance=Appearance(0.0))
    samples = [stream[n] for n in range(5)]
    owners = [
        (0, "liver", "a", "click"), (0, "liver", "b", "box"), (0, UNLABELLED, "a", "box"),
        (1, "cord", "a", "box"), (1, "cord", "a", "box"),
    ]  # fmt: skip
    return [Drawn(s["image"], s["target"], *o) for s, o in zip(samples, owners, strict=True)]


def test_every_region_is_asked_its_way_and_corrected_twice(model, decoders, regions):
    table = build_table(Decoders(model, decoders, "mask"), regions, Asking(0))
    assert len(table) == 5 * 3
    assert table.names == ("liver", UNLABELLED, "cord")
    assert torch.bincount(table.region).tolist() == [3] * 5
    assert torch.bincount(table.owner).tolist() == [9, 6]
    assert torch.bincount(table.way * 3 + table.turn).tolist() == [1] * 3 + [4] * 3
    assert int(table.labelled.sum()) == 12
    assert table.scan[table.turn == 0].tolist() == [0, 1, 0, 0, 0]


def test_a_row_holds_what_a_conversation_with_its_owner_shows(model, decoders, regions):
    """The two cords are one batch: the same prompts are drawn here again, after those of the others."""
    table = build_table(Decoders(model, decoders, "mask"), regions[3:], Asking(0))
    owner = copy.deepcopy(model)
    owner.mask_decoder = decoders[1]
    image, target = (torch.stack([getattr(r, k) for r in regions[3:]]) for k in ("image", "target"))
    every, none, rng = torch.arange(2), torch.arange(0), torch.Generator().manual_seed(0)
    talk = Conversation(
        owner, owner.encode(image), target, rng, Opening({"mask": every}, 0.06, Clicked(none))
    )
    with torch.no_grad():
        talk.correct(talk.ask())
        tokens = talk._encode()
        answer, general = talk.ask(), model.decode(talk.embedding, tokens)
    second = table.rows(table.turn == 1)
    seen = gate_input(talk.embedding, tokens.sparse, tokens.places)
    for part, expected in zip(second.seen, seen, strict=True):
        torch.testing.assert_close(part.float(), expected.detach(), atol=2e-3, rtol=2e-3)
    soft = talk.soft[:, 0]
    torch.testing.assert_close(second.scores[:, 1], low_dice(answer, soft)[:, 0])
    torch.testing.assert_close(second.scores[:, 0], low_dice(general, soft)[:, 0])


def test_where_nothing_is_labelled_the_general_experts_answer_is_right(model, decoders, regions):
    table = build_table(Decoders(model, decoders, "mask"), regions, Asking(0))
    blank = table.rows(~table.labelled)
    assert (blank.scores[:, 0] == 1).all()
    assert (blank.scores[:, 1] < 1).any()


def test_unscored_the_owner_alone_is_asked(model, decoders, regions):
    table = build_table(Decoders(model, decoders, "mask"), regions, Asking(0, scored=False))
    assert table.scores.isnan().tolist() == [[False, True]] * 9 + [[True, False]] * 6
    asked = build_table(Decoders(model, decoders, "mask"), regions, Asking(0))
    for part, other in zip(table.seen, asked.seen, strict=True):
        torch.testing.assert_close(part, other)


def test_answers_are_kept_as_coarse_as_asked_for(model, decoders, regions):
    table = build_table(Decoders(model, decoders, "mask"), regions, Asking(0, keep=4))
    assert table.answers.shape == (15, 2, 4, 4, 4) and table.targets.shape == (15, 4, 4, 4)
    assert build_table(Decoders(model, decoders, "mask"), regions, Asking(0)).answers is None


def test_without_a_region_there_is_no_table(model, decoders):
    with pytest.raises(ConfigError, match="no region could be drawn"):
        build_table(Decoders(model, decoders, "mask"), [], Asking(0))


@pytest.mark.parametrize("strategy", ["mask", "center", "corners"])
def test_a_click_is_the_middle_voxel_and_a_box_is_lowered_as_the_card_says(
    model, decoders, regions, strategy
):
    clicks = build_table(Decoders(model, decoders, strategy), regions[:1], Asking(0, turns=1))
    image, size = regions[0].image, model.sizes.image_size
    middle = torch.full((1, 1, 3), float(size // 2))
    with torch.no_grad():
        embedding = model.encode(image[None])
        mask = torch.zeros(1, 1, *(model.sizes.low_res,) * 3)
        tokens = model.encode_prompt(middle, torch.ones(1, 1, dtype=torch.long), None, mask)
    seen = gate_input(embedding, tokens.sparse, tokens.places)
    for part, expected in zip(clicks.seen, seen, strict=True):
        torch.testing.assert_close(part.float(), expected, atol=2e-3, rtol=2e-3)
    boxes = build_table(Decoders(model, decoders, strategy), regions[1:2], Asking(0, turns=1))
    assert boxes.way.tolist() == [1] and boxes.scores.isfinite().all()
