"""A label map taken up as targets, refused where it does not fit, and joined again."""

from itertools import product

import numpy as np
import pytest
import torch

from sam_moe.errors import GeometryError, PromptError, ValuesError
from sam_moe.predict.prediction import LabelMap
from sam_moe.prompts import Point
from sam_moe.space.grid import Grid
from tests.predict.starting.bright import (
    CORE,
    CRUMB,
    EXTRA,
    GRID,
    MISSING,
    NUCLEUS,
    SHAPE,
    SHELL,
    block,
    bright_model,
    map_of,
    scan_of,
)


def test_the_targets_are_the_labels_of_the_map_in_the_order_of_their_values(started):
    assert list(started) == ["core", "shell", "lost"] and len(started) == 3
    assert [started[name].rule for name in started] == ["none", "box", "none"]
    assert started.not_found == ("lost",) and "liver" not in started
    with pytest.raises(KeyError):
        started["liver"]


def test_before_any_call_the_joined_map_is_the_map(started, bright):
    joined = started.label_map()
    assert torch.equal(joined.labels, map_of().labels) and joined.names == map_of().names
    assert list(joined.predictions) == ["core", "shell"] and bright.answers == 0


def test_by_the_rule_the_boxes_are_answered_and_the_other_masks_stand(started, bright):
    started.refine_by_rule()
    joined = started.label_map()
    assert torch.equal(joined.labels == 1, block(CORE, EXTRA))
    assert torch.equal(joined.labels == 2, block(NUCLEUS))
    assert bright.answers == 1 and joined.not_found == ("lost",)


def test_each_line_is_what_stands_and_whose_answer_it_is(started):
    started.refine_by_rule()
    assert str(started).splitlines() == [
        "core   175 voxels, 0.6 ml · automatic, by a label map",
        "shell  27 voxels, 0.1 ml · box of the automatic mask, by bright",
        "lost   not found; a prompt begins it",
    ]


def test_where_targets_claim_a_voxel_the_one_that_was_prompted_last_has_it(started):
    click = Point((10, 10, 10))
    every = block(CORE, MISSING, NUCLEUS)
    started["lost"].refine(click)  # all that is bright
    joined = started.label_map().labels
    assert torch.equal(joined == 4, every)
    assert torch.equal(joined == 1, block(EXTRA)) and torch.equal(joined == 2, block(SHELL, CRUMB) & ~every)
    started["core"].refine(Point((14, 10, 10)))
    joined = started.label_map().labels
    assert torch.equal(joined == 1, block(CORE, EXTRA, MISSING)) and torch.equal(joined == 4, block(NUCLEUS))
    started["core"].undo()
    assert torch.equal(started.label_map().labels == 4, every)


def test_without_prompts_a_kept_mask_has_the_voxel_before_an_answer_to_a_box():
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[block(CORE)], labels[block(((10, 11), (10, 11), (8, 13)))] = 1, 2
    label_map = LabelMap(labels, GRID, {1: "box", 2: "rod"})
    started = bright_model().open(scan_of()).start_from(label_map, {"box": "box"})
    started.refine_by_rule()
    assert torch.equal(started.label_map().labels == 2, labels == 2)
    started["box"].refine(Point((10, 10, 10)))
    joined = started.label_map()
    # A mask keeps to its box and 15 % beyond: one voxel of the bright block beside it
    assert torch.equal(joined.labels == 1, block(((8, 14), (8, 13), (8, 13))))
    assert joined.not_found == ("rod",)


def test_the_sessions_own_target_stays_and_the_targets_do_not_know_of_each_other(bright):
    session = bright_model(bright).open(scan_of())
    own = session.predict(Point((10, 10, 10)))
    started = session.start_from(map_of())
    started["core"].refine(Point((14, 10, 10)))
    assert torch.equal(session.standing().mask, own.mask) and session.prompt == own.prompt
    assert len(started["shell"].prompt) == 0
    again = session.start_from(map_of())
    assert again["core"].standing().voxels == 175 and started["core"].standing().voxels == 225


def test_the_embedding_is_shared_by_the_targets_and_the_session(model, scan, encodings):
    labels = torch.zeros(scan.grid.shape, dtype=torch.uint8)
    labels[20:29, 20:29, 20:29], labels[22:27, 22:27, 22:27] = 1, 2
    started = model.open(scan).start_from(LabelMap(labels, scan.grid, {1: "a", 2: "b"}))
    found = [started[name].refine(Point((24, 24, 24))) for name in started]
    assert len(encodings) == 1 and [one.cached for one in found] == [True, True]


@pytest.mark.parametrize(
    "grid",
    [
        Grid.around((0, 0, 0), SHAPE, (1.5, 1.5, 2)),
        Grid.around((0, 0, 3), SHAPE, (1.5, 1.5, 1.5)),
        Grid(GRID.affine @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), SHAPE),
    ],
)
def test_a_map_on_another_grid_is_refused_in_words(grid):
    with pytest.raises(GeometryError, match="Expected one grid; bring the map over: LabelMap"):
        bright_model().open(scan_of()).start_from(map_of(grid))


@pytest.mark.parametrize(
    ("names", "refine", "error", "words"),
    [
        ({}, None, PromptError, "a label map that names no label"),
        ({1: "core", 2: "core"}, None, PromptError, "names core, core. Expected a name of its own"),
        ({1: "core"}, None, ValuesError, "voxels of label 2, which has no name"),
        (
            {1: "core", 2: "shell"},
            {"shel": "box"},
            PromptError,
            "no label 'shel' in this map. Known, nearest",
        ),
        ({1: "core", 2: "shell"}, {"core": "boxes"}, PromptError, "'boxes' is no rule"),
    ],
)
def test_a_map_that_makes_no_targets_is_refused_by_what_is_wrong(names, refine, error, words):
    label_map = LabelMap(map_of().labels, GRID, names)
    with pytest.raises(error, match=words):
        bright_model().open(scan_of()).start_from(label_map, refine)


def test_masks_take_no_part_in_each_other_however_the_map_lies_in_memory():
    for order, flips in product(((0, 1, 2), (2, 1, 0)), (False, True)):
        labels = map_of().labels
        stored = labels.permute(order).contiguous().permute(np.argsort(order).tolist())
        label_map = LabelMap(stored.flip(0) if flips else stored, GRID, map_of().names)
        started = bright_model().open(scan_of()).start_from(label_map)
        expected = labels.flip(0) if flips else labels
        assert torch.equal(started["shell"].standing().mask, (expected == 2).to(torch.uint8))
