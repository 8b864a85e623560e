from typing import get_args

from sam_moe.evaluation.layouts import Layout
from sam_moe.evaluation.layouts.finders import FINDERS


def test_every_layout_that_can_be_named_is_found():
    assert set(FINDERS) == set(get_args(Layout))
