"""The picture of the routing: thresholds choose as the gate would, and the file is a picture."""

import pytest

from benchmarks.mixture import picture
from benchmarks.mixture.systems import GENERAL, MIXTURE
from sam_moe.errors import SamMoeError
from tests.benchmarks.mixture.test_tables import CORD, HEART, TUMOUR, answer, whole

CONFIDENCE = {"small": 0.2, "spinal-cord": 0.5, "esophagus": 0.3}


@pytest.mark.parametrize("tau, dice", [(0.0, 0.6), (0.5, 0.6), (0.51, 0.2), (1.0, 0.2)])
def test_below_the_threshold_the_general_model_answers(tau, dice):
    alone = {GENERAL: 0.2, "spinal-cord": 0.6, "esophagus": 0.1}
    assert picture._dice_at(answer(CORD, MIXTURE, 0.0, confidence=CONFIDENCE), tau, alone) == dice


def test_the_mean_is_one_over_structures():
    assert picture._mean([("liver", 1.0), ("liver", 0.0), ("cord", 0.2)]) == pytest.approx(0.35)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [None, 0.55])
def test_a_picture_is_written(tmp_path, threshold):
    answers = [
        answer(a.target, a.system, a.dice, a.prompt, experts=a.experts, confidence=CONFIDENCE)
        if a.system == MIXTURE
        else a
        for a in whole()
    ]
    answers += [answer(t, MIXTURE, 0.3, experts={"small": 1.0}) for t in (HEART, TUMOUR)]
    picture.draw(answers, threshold, tmp_path / "routing.png")
    data = (tmp_path / "routing.png").read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 10_000


def test_the_threshold_is_the_cards_and_a_plain_model_has_none():
    threshold = picture.threshold_of("small-moe")
    assert threshold is not None and 0 < threshold < 1
    assert picture.threshold_of("small") is None
    with pytest.raises(SamMoeError):
        picture.threshold_of("no-such-gate")
