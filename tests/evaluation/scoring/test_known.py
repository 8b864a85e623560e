"""What is unknown of a truth is neither 0 nor equal to what is known."""

import pytest

from sam_moe.errors import ConfigError
from sam_moe.evaluation.scoring.known import check_known, ml_words, same_volume
from tests.evaluation.rows import row


def test_volumes_are_alike_to_a_millionth_and_unknown_ones_among_themselves():
    assert same_volume(300.0, 300.0001) and not same_volume(300.0, 300.001)
    assert same_volume(None, None) and not same_volume(None, 0.0) and not same_volume(0.0, None)
    assert ml_words(7.0) == "7 ml" and ml_words(None) == "an unknown volume"


def test_an_unknown_metric_is_refused_and_its_targets_are_named():
    rows = [row(), row(case="b1", volume_error_ml=None, truth_ml=None)]
    check_known(rows, ["dice", "nsd"])
    with pytest.raises(ConfigError, match="volume_error_ml is unknown for 1 targets, .* such as liver in b1"):
        check_known(rows, ["dice", "volume_error_ml"])
