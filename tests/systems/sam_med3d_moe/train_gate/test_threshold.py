"""The threshold is the one that tables worked out by hand ask for."""

import csv

import torch

from sam_moe.registry import CurvePoint
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import LEAST_PROMPTS, choose, curve, write_curve
from tests.systems.sam_med3d_moe.train_gate.tables import by_hand


def point(threshold, drop, gain):
    return CurvePoint(threshold=threshold, general_drop=drop, specialised_gain=gain)


def test_the_curve_is_the_largest_general_loss_and_the_mean_gain():
    """Two general structures and two of experts, a column of confidence each; worked out below.

    At 0 the surest specialist answers all: liver loses 0.2 on half its prompts, spleen 0.1 on all, cord gains
    0.4 and tumour 0.2. At 0.5 half the liver's and the spleen's prompts fall back, and all of tumour's.
    At 1 all do.
    """
    n = LEAST_PROMPTS
    names = ("liver", "spleen", "cord", "tumour")
    structure = [0] * n + [1] * n + [2] * n + [3] * n
    owner = [0] * 2 * n + [1] * n + [2] * n
    liver = [[0.8, 0.6, 0.0], [0.8, 0.8, 0.0]] * (n // 2)
    scores = liver + [[0.7, 0.6, 0.0]] * n + [[0.3, 0.7, 0.0]] * n + [[0.3, 0.0, 0.5]] * n
    unsure, sure = [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]
    confidence = [sure, unsure] * (n // 2) + [unsure, unsure] * (n // 2) + [sure] * n + [[0.6, 0.0, 0.4]] * n
    table = by_hand(owner, scores, structure, names)
    at = {p.threshold: p for p in curve(torch.tensor(confidence), table, (0.0, 0.5, 1.0))}
    assert at[0.0] == point(0.0, 0.1, 0.3)
    assert at[0.5] == point(0.5, 0.1, 0.2)  # sure of the liver's first kind: 0.2 on half of it
    assert at[1.0] == point(1.0, 0.0, 0.0)


def test_rare_structures_count_together_and_places_without_a_label_not_at_all():
    """Of 4 rare structures one loses 0.4, which is 0.1 in the mean, however often it was asked about."""
    scores = [[0.4, 0.0], [0.4, 0.0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]
    table = by_hand([0] * 6, scores, [0, 0, 1, 2, 3, 4], ("a", "b", "c", "d", "unlabelled place"))
    (found,) = curve(torch.tensor([[0.0, 1.0]] * 6), table, (0.5,))
    assert found == point(0.5, 0.1, 0.0)


def test_the_highest_gain_that_keeps_the_general_structures_is_chosen():
    points = [point(0.0, 0.02, 0.4), point(0.2, 0.004, 0.3), point(0.4, 0.001, 0.2), point(1.0, 0.0, 0.0)]
    assert (choose(points).threshold, choose(points).kept) == (0.2, True)
    assert choose(points, 0.05).threshold == 0.0
    assert choose(points, 0.0).threshold == 1.0


def test_of_equally_good_thresholds_the_middle_one_is_chosen():
    gains = [0.30, 0.30, 0.30, 0.3005, 0.2996, 0.2, 0.3]
    points = [point(n / 10, 0.0, gain) for n, gain in enumerate(gains)]
    choice = choose(points)
    assert choice.threshold == 0.2
    assert "as good from 0 to 0.4" in choice.why


def test_where_none_keeps_them_the_safest_is_taken_and_named():
    points = [point(0.0, 0.02, 0.4), point(0.5, 0.01, 0.3), point(0.9, 0.01, 0.1)]
    choice = choose(points)
    assert (choice.threshold, choice.kept) == (0.9, False)
    assert choice.why == "no threshold keeps the loss within 0.005 Dice; 0.9 is the safest, losing 0.0100"


def test_the_curve_is_written_as_a_table_and_a_picture(tmp_path):
    points = [point(0.0, 0.02, 0.4), point(0.5, 0.001, 0.3)]
    write_curve(points, choose(points), 0.005, tmp_path)
    with (tmp_path / "curve.csv").open() as file:
        assert list(csv.reader(file))[1:] == [["0.0", "0.02", "0.4"], ["0.5", "0.001", "0.3"]]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_structure_of_one_scan_is_no_class_of_its_own():
    """Seen in two scans, a loss of 0.4 stands alone; seen in one, it is halved by the structure beside it."""
    rows = 2 * LEAST_PROMPTS
    scores = [[0.4, 0.0]] * LEAST_PROMPTS + [[0.5, 0.5]] * LEAST_PROMPTS
    structure = [0] * LEAST_PROMPTS + [1] * LEAST_PROMPTS
    sure = torch.tensor([[0.0, 1.0]] * rows)
    for scan, drop in (([0, 1] * LEAST_PROMPTS, 0.4), ([0] * rows, 0.2)):
        table = by_hand([0] * rows, scores, structure, ("heart", "liver"), scan)
        assert curve(sure, table, (0.5,))[0].general_drop == drop
