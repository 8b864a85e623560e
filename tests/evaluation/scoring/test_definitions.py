"""Every number that a result holds is defined, once, in words."""

import numpy as np

from sam_moe.evaluation.results import METRICS
from sam_moe.evaluation.scoring.definitions import (
    COUNTED,
    OFFICIAL,
    OVER_CLICKS,
    definitions,
    metric_definitions,
)
from sam_moe.evaluation.scoring.interactive import interactive
from sam_moe.evaluation.scoring.official import official
from tests.evaluation.rows import study


def test_every_column_of_a_row_is_defined_and_nsd_with_its_tolerance():
    assert set(metric_definitions(2.0)) == set(METRICS)
    assert "1.5 mm" in metric_definitions(1.5)["nsd"]


def test_every_official_number_is_defined():
    mask = np.ones((2, 2, 2), dtype=bool)
    assert {f"official.{name}" for name in official(mask, mask, (1.0, 1.0, 1.0))} == set(OFFICIAL)


def test_every_figure_over_clicks_is_defined():
    found = interactive(study({"a": 0.1}))["a"]["click"]
    named = {name for name in found if name != "clicks"}
    defined = {name: [figure for figure in named if name in figure] for name in OVER_CLICKS}
    assert all(defined.values()) and {f for own in defined.values() for f in own} == named


def test_a_result_defines_all_of_them_in_this_order():
    assert [*definitions(2.0)] == [*metric_definitions(2.0), *OFFICIAL, *OVER_CLICKS, *COUNTED]
