"""Targets of a label map: what a prompt changes, what it leaves, and undo to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_moe.errors import PromptError
from sam_moe.predict.prediction import LabelMap
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke
from sam_moe.space.connected import largest_part, parts_at
from sam_moe.space.phantom import ball
from tests.predict.starting.bright import (
    CORE,
    CRUMB,
    EXTRA,
    MISSING,
    NUCLEUS,
    SHELL,
    block,
    bright_model,
    map_of,
    scan_of,
    turned,
)

ADD = Point((14, 10, 10))  # in the bright piece that the mask of "core" lacks
TAKE = Point((10, 14, 10), positive=False)  # in the piece that it has too much


def mask(prediction):
    return prediction.mask.bool()


def test_the_masks_stand_as_the_map_has_them_and_nothing_was_asked(started, bright):
    assert torch.equal(mask(started["core"].standing()), block(CORE, EXTRA))
    assert torch.equal(mask(started["shell"].standing()), block(SHELL, CRUMB))
    assert bright.answers == 0 and len(started["core"].prompt) == 0
    assert started["core"].answered_by == "automatic, by a label map"
    assert started["core"].standing().voxels == 125 + 50
    assert started["core"].undo().voxels == 175 and started["core"].redo().voxels == 175


def test_a_positive_click_adds_the_piece_that_it_lies_in_and_no_other(started):
    found = started["core"].refine(ADD)
    assert torch.equal(mask(found), block(CORE, EXTRA, MISSING))
    assert (found.gained, found.lost, found.remark) == (50, 0, "")
    assert found.prompt == Prompt((ADD,)) and "decode" in found.timings_ms
    assert found.explain() == "a label map, pieces by bright: 50 voxels gained, 0 lost"
    assert started["core"].answered_by == "automatic, by a label map; pieces at a prompt, by bright"


def test_a_negative_click_takes_the_piece_that_it_lies_in_and_no_other(started):
    found = started["core"].refine(TAKE)
    assert torch.equal(mask(found), block(CORE))
    assert (found.gained, found.lost) == (0, 50)


def test_a_stroke_or_a_loop_changes_the_piece_that_its_click_lies_in(started):
    along = Stroke(((13, 9, 10), (14, 10, 10), (14, 12, 10)))
    assert torch.equal(mask(started["core"].refine(along)), block(CORE, EXTRA, MISSING))
    around = Loop(((8, 13, 10), (12, 13, 10), (12, 14, 10), (8, 14, 10)), positive=False)
    assert torch.equal(mask(started["core"].refine(around)), block(CORE, MISSING))
    assert len(started["core"].prompt) == 2


@pytest.mark.parametrize("click", [Point((10, 10, 10)), Point((10, 10, 10), False), Point((3, 3, 3), False)])
def test_where_the_answer_agrees_with_the_mask_it_stands_and_the_remark_is_why(started, click):
    found = started["core"].refine(click)
    assert torch.equal(mask(found), block(CORE, EXTRA)) and (found.gained, found.lost) == (0, 0)
    assert found.remark == "nothing changed: there the answer of bright agrees with the mask"
    assert found.remark in found.explain()
    assert len(started["core"].prompt) == 1


def test_undo_and_redo_walk_along_the_clicks_to_the_bit(started):
    core = started["core"]
    masks = [core.standing(), core.refine(ADD), core.refine(TAKE), core.refine(Point((3, 3, 3)))]
    for count in (2, 1, 0, 0):
        back = core.undo()
        assert torch.equal(back.mask, masks[count].mask) and back.prompt == masks[count].prompt
        assert torch.equal(core.standing().mask, back.mask) and len(core.prompt) == count
    for count in (1, 2, 3, 3):
        forth = core.redo()
        assert torch.equal(forth.mask, masks[count].mask) and forth.prompt == masks[count].prompt
        assert (forth.gained, forth.lost) == (masks[count].gained, masks[count].lost)


def test_a_click_after_undo_forgets_what_was_undone(started):
    core = started["core"]
    core.refine(ADD)
    core.undo()
    found = core.refine(TAKE)
    assert core.redo().prompt == found.prompt == Prompt((TAKE,))
    assert torch.equal(mask(core.undo()), block(CORE, EXTRA))


def test_a_box_label_is_answered_by_the_box_of_its_largest_part_when_asked_and_not_before(started, bright):
    shell = started["shell"]
    found = shell.refine_by_rule()
    assert torch.equal(mask(found), block(NUCLEUS)) and found.model_id == "bright"
    assert found.prompt == Prompt((Box((16, 16, 16), (21, 21, 21)),)) and len(shell.prompt) == 0
    assert shell.answered_by == "box of the automatic mask, by bright" and bright.answers == 1
    shell.refine_by_rule()
    assert torch.equal(mask(shell.undo()), block(SHELL, CRUMB))
    assert torch.equal(mask(shell.redo()), block(NUCLEUS)) and bright.answers == 1
    assert torch.equal(mask(started["core"].refine_by_rule()), block(CORE, EXTRA))
    assert started["lost"].refine_by_rule() is None


def test_a_click_on_a_box_label_refines_the_answer_to_its_box(started):
    shell, click = started["shell"], Point((18, 18, 18))
    session = bright_model().open(scan_of())
    session.predict(Box((16, 16, 16), (21, 21, 21)))
    expected = session.refine(click)
    found = shell.refine(click)
    assert torch.equal(found.mask, expected.mask) and found.prompt == expected.prompt
    assert shell.prompt == Prompt((click,))
    assert shell.answered_by == "box of the automatic mask, by bright, and a prompt"
    assert torch.equal(mask(shell.undo()), block(SHELL, CRUMB))  # as it was shown
    assert torch.equal(mask(shell.refine_by_rule()), block(NUCLEUS))
    assert torch.equal(shell.refine(click).mask, expected.mask)
    assert torch.equal(mask(shell.undo()), block(NUCLEUS)) and len(shell.prompt) == 0


def test_a_label_that_was_not_found_has_no_mask_and_a_click_begins_it(started):
    lost, click = started["lost"], Point((18, 18, 18))
    assert lost.standing() is None and not lost.found and lost.answered_by == "not found"
    assert lost.undo() is None and lost.redo() is None
    found = lost.refine(click)
    expected = bright_model().open(scan_of()).predict(click)
    assert torch.equal(found.mask, expected.mask) and found.prompt == Prompt((click,))
    lost.refine(Point((9, 9, 9)), Point((14, 9, 9)))
    assert lost.answered_by == "3 prompts, by bright"
    assert torch.equal(lost.undo().mask, found.mask)
    assert lost.undo() is None and lost.standing() is None and lost.answered_by == "not found"
    assert torch.equal(lost.redo().mask, found.mask)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Box((8, 8, 8), (15, 13, 13)), "the mask of 'core' is kept, and a box would replace all of it"),
        (Point((99, 0, 0)), "outside the volume"),
        (Prompt(), "give at least one Point or Box"),
    ],
)
def test_what_is_refused_changes_nothing(started, item, words):
    core = started["core"]
    before = core.refine(ADD)
    core.refine(TAKE)
    core.undo()
    with pytest.raises(PromptError, match=words):
        core.refine(item)
    assert torch.equal(core.standing().mask, before.mask)
    assert torch.equal(mask(core.redo()), block(CORE, MISSING))


@pytest.mark.parametrize("name", ["core", "shell", "lost"])
def test_an_answer_that_fails_leaves_the_target_as_it_was(started, bright, name):
    target = started[name]
    target.refine(ADD)
    before, bright.broken = target.standing(), True
    with pytest.raises(MemoryError):
        target.refine(TAKE)
    bright.broken = False
    assert torch.equal(target.standing().mask, before.mask) and target.prompt == Prompt((ADD,))


def test_an_undo_that_fails_leaves_the_mask_and_the_prompts_as_they_were(bright):
    """Nothing is kept, so that going back means answering again."""
    core = bright_model(bright, history_bytes=0).open(scan_of()).start_from(map_of())["core"]
    core.refine(ADD)
    after = core.refine(TAKE)
    bright.broken = True
    with pytest.raises(MemoryError):
        core.undo()
    bright.broken = False
    assert torch.equal(core.standing().mask, after.mask) and len(core.prompt) == 2
    assert torch.equal(mask(core.undo()), block(CORE, EXTRA, MISSING))


def test_an_oblique_scan_shows_the_same_masks_and_changes_the_same_pieces():
    grid = turned()
    started = bright_model().open(scan_of(grid)).start_from(map_of(grid))
    assert torch.equal(mask(started["core"].standing()), block(CORE, EXTRA))
    found = mask(started["core"].refine(ADD))
    changed = found ^ block(CORE, EXTRA)
    # Interpolated from a region that does not lie obliquely: surfaces are off by a voxel at most
    assert changed[14, 9:12, 9:12].all() and not (changed & block(CORE, EXTRA)).any()
    assert not (changed & ~block(((12, 16), (7, 14), (7, 14)))).any()


def expected_of(session, label_map, clicks):
    """After each click the mask, and the piece that may change, from a session and a label map alone."""
    standing = label_map.labels.bool()
    index = largest_part(standing).nonzero()
    low, high = index.amin(0).float(), index.amax(0).float() + 1
    session.predict(Box(tuple(low.tolist()), tuple(high.tolist())))
    for click in clicks:
        answer = session.refine(click).mask.bool()
        differs = answer & ~standing if click.positive else standing & ~answer
        piece = parts_at(differs, [tuple(map(int, click.at))])
        standing = standing ^ piece
        yield standing, piece


@pytest.mark.parametrize("seed", range(2))
def test_a_click_changes_no_voxel_outside_its_piece_whatever_the_network_answers(model, generator, seed):
    """The tiny network is random: its answers disagree with the ball's mask all over the scan."""
    scan, truth = ball(generator)
    labels = torch.where(truth.array.bool(), 1, 0).to(torch.uint8)
    label_map = LabelMap(labels, scan.grid, {1: "ball"})
    session = replace(model, whole_targets=False).open(scan)
    rng = np.random.default_rng(seed)
    clicks = [Point(tuple(rng.integers(12, 36, 3).tolist()), bool(n % 2)) for n in range(4)]
    target, before, changes = session.start_from(label_map)["ball"], labels.bool(), 0
    for click, (expected, piece) in zip(clicks, expected_of(session, label_map, clicks), strict=True):
        found = target.refine(click)
        assert torch.equal(mask(found), expected) and torch.equal(mask(found) ^ before, piece)
        assert int(piece.sum()) == found.gained + found.lost
        before, changes = expected, changes + bool(piece.any())
    assert changes > 0
    for _ in clicks:
        back = target.undo()
    assert torch.equal(mask(back), labels.bool())


@pytest.mark.parametrize("kept_bytes", [0, 200, 2**20])
def test_the_same_bits_come_back_however_little_is_kept(kept_bytes):
    clicks = [ADD, TAKE, Point((3, 3, 3)), Point((18, 18, 18))]
    core = bright_model(history_bytes=kept_bytes).open(scan_of()).start_from(map_of())["core"]
    given = [core.standing(), *(core.refine(click) for click in clicks)]
    assert len({one.voxels for one in given}) >= 3
    back = [core.undo() for _ in clicks]
    forth = [core.redo() for _ in clicks]
    for first, again in zip([*given[:-1][::-1], *given[1:]], [*back, *forth], strict=True):
        assert torch.equal(first.mask, again.mask) and first.prompt == again.prompt
        assert (first.gained, first.lost, first.remark) == (again.gained, again.lost, again.remark)
