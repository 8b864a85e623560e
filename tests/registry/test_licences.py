"""The licence of a mixture demands all that its parts demand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.registry import most_restrictive


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["MIT"], "MIT"),
        (["CC0-1.0", "MIT", "Apache-2.0"], "Apache-2.0"),
        (["Apache-2.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["CC-BY-SA-3.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["CC-BY-4.0", "CC-BY-NC-4.0"], "CC-BY-NC-4.0"),
        (["CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"], "CC-BY-NC-SA-4.0"),
        # Nobody may put NC onto share-alike work: both stay.
        (["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"], "CC-BY-SA-4.0 AND CC-BY-NC-SA-4.0"),
        (["CC-BY-NC-4.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0 AND CC-BY-NC-4.0"),
        (["CC-BY-NC-ND-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0"], "CC-BY-NC-ND-4.0"),
        (["GPL-3.0-only", "CC-BY-SA-4.0"], "GPL-3.0-only AND CC-BY-SA-4.0"),
        (["Apache-2.0", "unknown: ask"], "Apache-2.0 AND unknown: ask"),
        (["MIT AND CC-BY-4.0", "CC-BY-NC-3.0"], "CC-BY-NC-3.0"),
    ],
)
def test_the_strictest_part_decides_and_what_cannot_be_joined_is_listed(parts, whole):
    assert most_restrictive(parts) == whole
    assert most_restrictive(reversed(parts)) == whole


PARTS = st.lists(
    st.sampled_from(["MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "odd"]),
    min_size=1,
)


@given(PARTS, PARTS)
def test_a_mixture_of_mixtures_is_the_mixture_of_all_parts(first, second):
    halves = [most_restrictive(first), most_restrictive(second)]
    assert most_restrictive(halves) == most_restrictive(first + second)


def test_a_mixture_of_nothing_has_no_licence():
    with pytest.raises(ValueError, match="at least one part"):
        most_restrictive([])
