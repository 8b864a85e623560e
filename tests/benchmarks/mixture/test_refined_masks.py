"""Automatic masks, their largest parts, and answers to their boxes, of one scan of a tiny challenge."""

import pytest
import torch
import yaml

from benchmarks.mixture.refined_masks import cases_of_part, measure, whole_masks, with_labels, with_parts
from sam_moe.evaluation.challenge.challenge import open_case
from sam_moe.predict.model import Model
from sam_moe.registry import Label
from sam_moe.space.connected import largest_part
from tests.benchmarks.mixture.m4oe.tiny import SETS, write_data
from tests.predict.starting.bright import bright_model
from tests.systems.m4oe.automatics import write_automatic


@pytest.fixture
def challenge(tmp_path):
    """Both data sets of the tiny recipe, as a challenge of test cases."""
    write_data(tmp_path)
    source = {"layout": "folders", "part": "test", "splits": str(tmp_path / "splits.json")}
    found = {
        "name": "tiny",
        "sets": [source | {"root": name, "prefix": name, "fixed": {"set": name}} for name in SETS],
        "labels": {name: [] for labels in SETS.values() for name in labels},
    }
    path = tmp_path / "challenge.yaml"
    path.write_text(yaml.safe_dump(found))
    return path


def test_another_part_of_the_challenge_has_that_parts_cases(challenge, tmp_path):
    found = {part: cases_of_part(part, challenge, tmp_path) for part in ("validation", "test")}
    assert [case.strata["set"] for case in found["validation"]] == ["neck", "brain"]
    assert len(found["test"]) == 4


def test_all_parts_are_kept_whatever_the_card_has_and_the_card_stays(tmp_path):
    entry = write_automatic(tmp_path)
    before = entry.card.model_dump()
    larynx = {("neck", "larynx"): {"parts": "largest", "refine": "box"}}
    changed = type(entry)(with_labels(entry.card, larynx), entry.path)
    model = whole_masks(changed)
    assert {label.parts for each in model.network.sets for label in each.labels} == {"all"}
    assert changed.card.sets[0].labels[1].parts == "largest" and entry.card.model_dump() == before


def test_the_largest_part_alone_is_kept_of_the_labels_that_keep_no_others():
    labels = torch.zeros(6, 6, 6, dtype=torch.uint8)
    labels[0:2, 0:2, 0:2], labels[5, 5, 5], labels[0, 5, 5], labels[3, 0, 0] = 1, 1, 2, 2
    kept = with_parts(labels, [Label(name="a", parts="largest"), Label(name="b")])
    assert int((kept == 1).sum()) == 8 and int((kept == 2).sum()) == 2


@pytest.mark.parametrize("refine", ["none", "box"])
def test_each_figure_is_the_dice_of_what_it_is_of(challenge, tmp_path, refine):
    entry = write_automatic(tmp_path / "cards")
    card = with_labels(entry.card, {("neck", "cord"): {"parts": "largest", "refine": refine}})
    (case, _) = cases_of_part("validation", challenge, tmp_path)
    then = bright_model()
    assert isinstance(then, Model)
    found = {row.structure: row for row in measure(whole_masks(entry), card, then, case)}
    opened = open_case(case)
    automatic = whole_masks(entry).open(opened.scan).segment("neck")

    def dice(name, mask):
        truth = opened.truths[name].array.bool()
        return 2 * int((truth & mask).sum()) / (int(truth.sum()) + int(mask.sum()))

    for value, name in automatic.names.items():
        mask = automatic.labels == value
        assert found[name].found == bool(mask.any())
        assert found[name].all == pytest.approx(dice(name, mask))
        assert found[name].largest == pytest.approx(dice(name, largest_part(mask)))
    kept = with_parts(automatic.labels, card.sets[0].labels)
    started = then.open(opened.scan).start_from(automatic, {"cord": "box", "larynx": "box"})
    answer = started["cord"].refine_by_rule()
    if answer is not None:
        assert found["cord"].box == pytest.approx(dice("cord", answer.mask.bool()))
    cord = found["cord"]
    assert cord.alone == pytest.approx(dice("cord", kept == 1)) == pytest.approx(cord.largest)
    assert refine == "box" or cord.rule == cord.alone
    assert found["larynx"].rule == found["larynx"].alone == pytest.approx(found["larynx"].all)
