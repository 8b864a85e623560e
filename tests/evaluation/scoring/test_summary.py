import json
import statistics

import numpy as np
import pytest

from sam_moe.evaluation.scoring.summary import (
    chains_of,
    final_prompt,
    main_prompts,
    prompts_of,
    summarise,
    thirds,
)
from tests.evaluation.rows import missing, row, study

CLICKS = ["click1", "click2", "click3"]
BOXED = ["box", "box+click1", "box+click2"]


def test_figures_by_hand():
    # 0.2, 0.4, 0.6 and a missing one as 0: mean 0.3; quartiles between the ranks of 0, 0.2, 0.4, 0.6.
    rows = [row(dice, case=f"c{dice}", patient=f"p{dice}") for dice in (0.2, 0.4, 0.6)]
    rows.append(missing(case="gone", patient="gone"))
    found = summarise(rows)["all"]["small"]["click1"]["dice"]
    assert found["mean"] == pytest.approx(0.3)
    assert found["median"] == pytest.approx(0.3)
    assert found["iqr"] == pytest.approx([0.15, 0.45])
    assert found["sd"] == pytest.approx(statistics.stdev([0, 0.2, 0.4, 0.6]))
    assert (found["n"], found["n_missed"]) == (4, 1)
    # The mean moves by sqrt(0.2) / 3 = 0.149 in all; 3.182 times that is 2.26 on the logit scale (slope
    # 0.21), around -0.847.
    assert found["ci95"] == pytest.approx([0.043, 0.804], abs=0.001)


def test_distances_and_volumes_have_intervals_above_zero_and_shares_below_one():
    rows = [
        row(dice, case=patient, patient=patient, hd95_mm=far, volume_error_ml=far)
        for patient, dice, far in (("a", 0.99, 1.0), ("b", 0.98, 2.0), ("c", 0.6, 60.0))
    ]
    found = summarise(rows)["all"]["small"]["click1"]
    assert 0 < found["hd95_mm"]["ci95"][0] < 21 < found["hd95_mm"]["ci95"][1]
    assert found["volume_error_ml"]["ci95"][0] > 0
    assert found["dice"]["ci95"][1] < 1


def test_a_missing_case_lowers_the_honest_mean_and_drops_out_of_the_official_one():
    rows = [row(0.8, official={"hd95_mm": 4.0}), missing(case="b1", patient="b", official={"hd95_mm": None})]
    found = summarise(rows)["all"]["small"]["click1"]
    assert found["hd95_mm"]["mean"] == pytest.approx((2 + 400) / 2)
    assert (found["official.hd95_mm"]["mean"], found["official.hd95_mm"]["n"]) == (4.0, 1)
    assert found["official.hd95_mm"]["n_missed"] == 1


def test_what_the_official_definition_leaves_out_altogether_is_null():
    found = summarise([missing(official={"hd95_mm": None})])["all"]["small"]["click1"]["official.hd95_mm"]
    assert (found["mean"], found["ci95"], found["n"]) == (None, None, 0)


def test_extra_files_are_counted_and_change_no_figure():
    rows = study({"small": 0.0})
    extra = row(1.0, case="stranger", patient="stranger", status="extra", label="other")
    with_extra = summarise([*rows, extra])
    plain = summarise(rows)
    assert with_extra["statuses"] == {"small": {"ok": 36, "extra": 1}}
    assert {**with_extra, "statuses": {}} == {**plain, "statuses": {}}


def test_structures_and_groups_have_figures_of_their_own():
    found = summarise(study({"small": 0.0, "tiny": -0.2}))
    assert list(found["labels"]) == ["kidney", "liver"]
    assert found["labels"]["liver"]["tiny"]["click1"]["dice"]["n"] == 6
    # Patients 1, 3 and 5 are MR: 0.42, 0.46, 0.50.
    assert found["strata"]["modality"]["MR"]["small"]["click1"]["dice"]["mean"] == pytest.approx(0.46)
    volumes = found["strata"]["volume"]
    assert [name.split()[0] for name in volumes] == ["up", next(iter(volumes)).split()[2], "above"]
    assert sum(group["small"]["click1"]["dice"]["n"] for group in volumes.values()) == 12


def test_a_group_of_the_challenge_named_volume_is_left_as_it_is():
    rows = [one.model_copy(update={"strata": {"volume": "large"}}) for one in study({"small": 0.0})]
    assert list(summarise(rows)["strata"]["volume"]) == ["large"]


def test_rows_without_groups_have_none():
    assert summarise([row(0.5), row(0.7, case="b1", patient="b")])["strata"] == {}


def test_the_summary_is_strict_json_and_the_same_again():
    rows = study({"small": 0.0})
    text = json.dumps(summarise(rows), allow_nan=False)
    assert text == json.dumps(summarise(rows), allow_nan=False)


def test_nothing_has_no_figures():
    assert summarise([]) == {"all": {}, "labels": {}, "strata": {}, "statuses": {}}


def test_thirds_hold_alike_many_targets():
    names = thirds([float(ml) for ml in range(1, 13)])
    found = [names(ml) for ml in range(1, 13)]
    assert [found.count(name) for name in dict.fromkeys(found)] == [4, 4, 4]
    assert found[0].startswith("up to ") and found[-1].startswith("above ")


def test_few_volumes_have_no_thirds():
    assert thirds([1.0] * 50 + [2.0] * 50) is None


def test_prompts_stand_in_the_order_of_the_protocol():
    rows = [row(prompt=prompt, step=step) for step, prompt in reversed(list(enumerate(BOXED)))]
    assert prompts_of(rows) == BOXED


@pytest.mark.parametrize(
    ("prompts", "chains", "main", "final"),
    [
        (CLICKS, [CLICKS], ["click1", "click3"], "click3"),
        (BOXED, [BOXED], ["box", "box+click2"], "box+click2"),
        (
            ["box", "click1", "box+click1", "click2"],
            [["box", "box+click1"], ["click1", "click2"]],
            ["box", "box+click1", "click1", "click2"],
            "click2",
        ),
        (["box", *CLICKS], [["box"], CLICKS], ["box", "click1", "click3"], "click3"),
        (["given"], [["given"]], ["given"], "given"),
        (["click1", "box"], [["click1"], ["box"]], ["click1", "box"], "box"),
    ],
)
def test_prompts_that_continue_each_other_are_a_chain(prompts, chains, main, final):
    assert chains_of(prompts) == chains
    assert main_prompts(prompts) == main
    assert final_prompt(prompts) == final


def test_intervals_are_over_patients_not_rows(rng):
    # Twenty copies of each of four patients' rows say nothing new.
    few = [row(dice, case=f"c{n}", patient=f"p{n}") for n, dice in enumerate(rng.random(4))]
    many = [one.model_copy(update={"label": f"part {copy}"}) for one in few for copy in range(20)]
    cell = [summarise(rows)["all"]["small"]["click1"]["dice"] for rows in (few, many)]
    np.testing.assert_allclose(cell[0]["ci95"], cell[1]["ci95"])
