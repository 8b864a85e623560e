"""A protocol gives the same prompts for the same target; steps have names; recorded prompts are replayed."""

import numpy as np
import pytest

from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.asking.protocols import (
    SIMULATED,
    Replay,
    replays_of,
    scripts_for,
    supported_part,
)
from sam_moe.evaluation.asking.targets import Target
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke
from sam_moe.prompts.promptset import PromptCase, PromptSet

TRUTH = np.zeros((30, 30, 10), bool)
TRUTH[5:25, 10:20, 2:8] = True
NOTHING = np.zeros_like(TRUTH)
TARGET = Target("case_1", "liver", TRUTH, (1.0, 1.0, 3.0), scan="f1")


def test_the_steps_of_each_protocol_say_what_was_said_last():
    assert SIMULATED["click"].steps == ("click1",)
    assert SIMULATED["clicks"].steps == ("click1", "click2", "click3", "click4", "click5")
    assert SIMULATED["box"].steps == ("box",)
    assert SIMULATED["flat"].steps == ("flat",) and SIMULATED["loop"].steps == ("loop1",)
    assert SIMULATED["strokes"].steps == ("stroke1", "stroke2", "stroke3", "stroke4", "stroke5")
    assert SIMULATED["cvpr2025-flat"].steps == ("flat", *(f"flat+click{n}" for n in range(1, 6)))
    assert SIMULATED["cvpr2025"].steps == ("box", *(f"box+click{n}" for n in range(1, 6)))


def test_what_a_system_must_understand_follows_from_the_steps():
    assert SIMULATED["clicks"].kinds == {"point"}
    assert SIMULATED["box"].kinds == {"box"}
    assert SIMULATED["cvpr2025"].kinds == {"box", "point"}
    assert SIMULATED["cvpr2025-flat"].kinds == {"flat", "point"}
    assert SIMULATED["strokes"].kinds == {"stroke"} and SIMULATED["loop"].kinds == {"loop"}


def test_the_box_of_cvpr_is_drawn_on_the_middle_slice_alone_or_from_the_first_slice_to_the_last():
    cone = np.zeros((30, 30, 10), bool)
    for k in range(2, 9):
        cone[10 - k : 10 + k, 12 - k : 12 + k, k] = True
    target = Target("c", "l", cone, (1.0, 1.0, 1.0))
    # 4 k² voxels on slice k: 16 36 64 100 144 196 256; the middle one of 812, the 407th, lies on slice 7
    deep, flat = (SIMULATED[name].item(target, (), cone) for name in ("cvpr2025", "cvpr2025-flat"))
    assert deep == Box((3, 5, 2), (17, 19, 9), flat=False)
    assert flat == Box((3, 5, 7), (17, 19, 8), flat=True)


def test_the_box_of_ours_is_drawn_by_a_person_around_the_target_or_on_its_middle_slice():
    tight = Box((5, 10, 2), (25, 20, 8))
    flat = SIMULATED["flat"].item(TARGET, (), NOTHING)
    assert flat.flat_axes(np.eye(4)) == (2,)  # across the thickest voxels
    assert np.abs(np.subtract((*flat.start[:2], *flat.stop[:2]), (5, 10, 25, 20))).max() <= 1
    sagittal = Target("case_1", "liver", TRUTH, (3.0, 1.0, 1.0))
    assert SIMULATED["flat"].item(sagittal, (), NOTHING).flat_axes(np.eye(4)) == (0,)
    drawn = SIMULATED["box"].item(TARGET, (), NOTHING)
    off = np.abs(np.subtract((*drawn.start, *drawn.stop), (*tight.start, *tight.stop)))
    assert off.max() == 1  # 5 % of 20 voxels; of 10 and of 6 it is less than one
    assert SIMULATED["box"].item(TARGET, (), NOTHING) == drawn


def test_another_case_or_seed_draws_another_box():
    wide = np.zeros((120, 120, 120), bool)
    wide[10:110, 10:110, 10:110] = True
    drawn = {
        SIMULATED["box"].item(Target(case, "liver", wide, (1, 1, 1), seed=seed), (), wide)
        for case in ("a", "b")
        for seed in (0, 1)
    }
    assert len(drawn) == 4


def test_clicks_go_where_the_answer_errs_most_and_stop_when_it_does_not():
    script = SIMULATED["clicks"]
    first = script.item(TARGET, (), NOTHING)
    assert isinstance(first, Point) and first.positive
    answer = TRUTH.copy()
    answer[5:10] = False  # 5 x 10 x 6 voxels missed, 20 made up
    answer[27, :20, 0] = True
    second = script.item(TARGET, (first,), answer)
    assert second.positive and second.at[0] == 7
    answer[5:10] = True
    assert not script.item(TARGET, (first, second), answer).positive
    assert script.item(TARGET, (first, second), TRUTH) is None


@pytest.mark.parametrize(("name", "kind"), [("strokes", Stroke), ("loops", Loop)])
def test_strokes_and_loops_mend_the_largest_error_and_stop_where_there_is_none(name, kind):
    script = SIMULATED[name]
    first = script.item(TARGET, (), NOTHING)
    assert isinstance(first, kind) and first.positive
    assert len(set(first.places[:, 2])) == 1  # on one slice, across the thickest voxels
    answer = TRUTH.copy()
    answer[25:30, 10:20] = True
    second = script.item(TARGET, (first,), answer)
    assert not second.positive and second.places[:, 0].min() >= 24.5
    assert script.item(TARGET, (first, second), TRUTH) is None


def test_the_first_click_of_ours_counts_millimetres_and_that_of_cvpr_voxels():
    # A plate 9 x 9 x 1 beside a rod 3 x 3 x 9, joined: in voxels the rod is deeper, and with thick slices
    # (in k) the plate's 4 voxels in-plane stand against its border 1 voxel = 9 mm away.
    truth = np.zeros((20, 20, 20), bool)
    truth[1:10, 1:10, 5] = True
    truth[10:13, 4:7, 2:11] = True
    thick = Target("c", "l", truth, (1.0, 1.0, 9.0))
    in_mm = SIMULATED["clicks"].item(thick, (), np.zeros_like(truth))
    in_voxels = SIMULATED["cvpr2025"].item(thick, (Box((0, 0, 0), (1, 1, 1)),), np.zeros_like(truth))
    assert in_mm.at[0] < 10 <= in_voxels.at[0]


def test_several_protocols_stand_with_commas_between():
    assert [script.name for script in scripts_for("clicks, box")] == ["clicks", "box"]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [("clik", "Known: click, clicks"), ("click,clicks", "click1 twice"), ("box,cvpr2025", "box twice")],
)
def test_what_is_unknown_or_has_a_step_twice_is_refused(protocol, message):
    with pytest.raises(ConfigError, match=message):
        scripts_for(protocol)


def test_a_script_is_followed_as_far_as_it_is_understood():
    box = supported_part(SIMULATED["cvpr2025"], frozenset({"box"}))
    assert (box.name, box.steps, box.kinds) == ("cvpr2025", ("box",), {"box"})
    assert box.item(TARGET, (), NOTHING) == Box((5, 10, 2), (25, 20, 8), flat=False)
    assert supported_part(SIMULATED["cvpr2025"], frozenset({"point"})) is None
    assert supported_part(SIMULATED["clicks"], frozenset({"point"})) is SIMULATED["clicks"]


def recorded(name: str, targets: dict[str, Prompt]) -> PromptSet:
    return PromptSet(name=name, cases=(PromptCase.of("a.nii", targets, fingerprint="f1"),))


def test_recorded_prompts_are_said_again_whatever_was_answered():
    clicks = (Point((5, 5, 5)), Point((6, 6, 6), positive=False))
    (script,) = replays_of(recorded("clicks", {"liver": Prompt(clicks)}))
    assert script.steps == SIMULATED["clicks"].steps
    assert script.item(TARGET, (), TRUTH) == clicks[0]
    assert script.item(TARGET, clicks[:1], NOTHING) == clicks[1]
    assert script.item(TARGET, clicks, NOTHING) is None


def test_two_protocols_in_one_file_are_taken_apart():
    point, box = Point((5, 5, 5)), Box((1, 1, 1), (2, 2, 2))
    prompts = recorded("click,box", {"liver · click": Prompt((point,)), "liver · box": Prompt((box,))})
    click, drawn = replays_of(prompts)
    assert (click.name, click.steps, drawn.name, drawn.steps) == ("click", ("click1",), "box", ("box",))
    assert click.item(TARGET, (), NOTHING) == point
    assert drawn.item(TARGET, (), NOTHING) == box


def test_a_set_made_by_hand_has_as_many_steps_as_its_longest_target():
    short, long = Prompt((Point((1, 1, 1)),)), Prompt((Box((0, 0, 0), (2, 2, 2)), Point((1, 1, 1))))
    (script,) = replays_of(recorded("my clicks", {"liver": short, "spleen": long}))
    assert (script.name, script.steps, script.kinds) == ("my clicks", ("box", "box+click1"), {"box", "point"})


def test_a_target_nobody_recorded_and_a_case_without_its_scan_are_refused():
    with pytest.raises(PromptError, match="none for liver of case_1"):
        Replay("clicks", ("click1",), {}).item(TARGET, (), NOTHING)
    bare = PromptCase.of("a.nii", {"liver": Prompt((Point((1, 1, 1)),))})
    with pytest.raises(PromptError, match="no fingerprint"):
        replays_of(PromptSet(name="clicks", cases=(bare,)))


def test_without_a_prompt_there_is_one_step_and_no_item():
    (script,) = scripts_for("automatic")
    assert script.steps == ("automatic",) and script.kinds == frozenset()
    assert script.item(TARGET, (), NOTHING) is None
