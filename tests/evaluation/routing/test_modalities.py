"""Information by hand: nothing where all choose alike, ln of the groups where each has its own choice."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.evaluation.routing.modalities import ScanChoices, by_modality, information_nats

EXPERTS = ("ct", "mr")


def scan(modality, first, second, weights=(0.5, 0.5)):
    return ScanChoices(modality, {"a": weights, "b": weights}, {"a": first, "b": second})


def test_every_group_with_a_choice_of_its_own_has_the_logarithm_of_the_groups():
    chosen = np.array([2, 2, 0, 1, 1, 1])
    assert information_nats(chosen, np.array([0, 0, 1, 2, 2, 2])) == pytest.approx(math.log(3))


def test_groups_weigh_alike_whatever_their_size():
    """Half of one group and none of the other: 1/2 (1/2 ln 2/3 + 1/2 ln 2) + 1/2 ln 4/3."""
    wanted = 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2)) + 0.5 * math.log(4 / 3)
    for times in (1, 50):
        chosen = np.array([0, 1] * times + [0])
        groups = np.array([0, 0] * times + [1])
        assert information_nats(chosen, groups) == pytest.approx(wanted)


def test_no_rows_hold_no_information():
    assert information_nats(np.zeros(0, int), np.zeros(0, int)) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40))
def test_information_is_never_negative_and_never_more_than_the_groups_have(rows):
    chosen, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = information_nats(chosen, groups)
    assert -1e-12 <= found <= math.log(len(set(groups.tolist()))) + 1e-12


@given(st.integers(0, 3), st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_one_choice_for_all_knows_nothing(choice, groups):
    assert information_nats(np.full(len(groups), choice), np.array(groups)) == pytest.approx(0, abs=1e-12)


def test_a_place_that_routes_stands_beside_one_that_does_not():
    scans = [
        scan("CT", (0,) * 30, (0,) * 30, (0.9, 0.1)),
        scan("CT", (0,) * 10, (0,) * 10, (0.5, 0.5)),
        scan("MR", (1,) * 40, (0,) * 40, (0.2, 0.8)),
    ]
    found = by_modality(scans, EXPERTS)
    routes, idle = found.places
    assert (routes.place, idle.place) == ("a", "b") and found.slices == {"CT": 40, "MR": 40}
    assert routes.nats == pytest.approx(math.log(2)) and idle.nats == idle.shuffled == 0
    assert 0 < routes.shuffled < 0.05 and found.nats > 20 * found.shuffled
    assert routes.shares["CT"] == pytest.approx((0.8, 0.2))  # 30 slices of 0.9, 10 of 0.5
    assert routes.shares["MR"] == pytest.approx((0.2, 0.8))
    assert by_modality(scans, EXPERTS) == found


def test_the_table_has_a_line_a_place_and_modality():
    found = by_modality([scan("CT", (0, 0), (0, 1)), scan("MR", (1, 1), (0, 1))], EXPERTS)
    head, *lines = csv.reader(found.as_csv().splitlines())
    assert head == ["place", "modality", "slices", "ct", "mr", "nats", "shuffled"]
    assert [line[:5] for line in lines] == [
        [place, modality, "2", "0.5000", "0.5000"] for place in "ab" for modality in ("CT", "MR")
    ]
    assert lines[0][5] == "0.6931" and lines[2][5] == "0.0000"


def test_without_scans_there_are_no_places():
    found = by_modality([], EXPERTS)
    assert found.places == () and found.nats == 0 and found.slices == {}
