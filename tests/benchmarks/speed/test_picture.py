"""The picture of growth: exponents are those of powers, and the file is a picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.picture import draw, exponent
from benchmarks.speed.sections.growth import Growth

SIZES = (1.0, 2.0, 4.0, 8.0)


@given(st.floats(-1, 3), st.floats(1e-6, 1e3))
def test_the_exponent_of_a_power_is_its_own_whatever_the_unit(power, unit):
    assert exponent(SIZES, [unit * size**power for size in SIZES]) == pytest.approx(power, abs=1e-6)


def test_what_does_not_grow_has_exponent_zero():
    assert exponent(SIZES, (0.5, 0.5, 0.5, 0.5)) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_a_panel_for_each_thing_that_grows(tmp_path):
    grown = [Growth(f"thing {n}", SIZES, {"reading": (0.1, 0.2, 0.3, 0.9)}) for n in range(4)]
    grown.append(Growth("voxels", (1e5, 1e6, 1e7, 1e8), {"a": (1, 2, 3, 4), "b": (4, 3, 2, 1)}))
    draw(grown, tmp_path / "growth.png", "a processor")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
