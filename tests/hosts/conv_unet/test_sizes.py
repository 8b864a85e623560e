"""Which pictures fit the halvings, and where places stand; torch is not needed."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from sam_moe.hosts.conv_unet.sizes import ConvSizes


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_each_level_but_the_finest_halves_the_sides(levels):
    sizes = ConvSizes(widths=(4,) * levels, image_size=64, classes=(2,))
    assert sizes.multiple == {3: 4, 4: 8, 5: 16}[levels]


def test_a_picture_that_cannot_be_halved_is_refused_with_what_would_fit():
    with pytest.raises(ValidationError, match="image_size 72 must be a multiple of 16: each of the 5 levels"):
        ConvSizes(image_size=72, classes=(2,))


def test_the_finest_level_has_no_places():
    assert ConvSizes(widths=(4, 8, 8), site_levels=2, classes=(2,)).site_levels == 2
    with pytest.raises(ValidationError, match="site_levels 3 must be less than the 3 levels of widths"):
        ConvSizes(widths=(4, 8, 8), site_levels=3, classes=(2,))


@pytest.mark.parametrize(
    "wrong",
    [{"classes": ()}, {"classes": (0,)}, {"classes": (2,), "widths": (4, 8)}, {"classes": (2,), "x": 1}],
)
def test_sizes_of_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        ConvSizes(**wrong)


def test_it_is_read_without_torch():
    program = "import sys, sam_moe.hosts.conv_unet.sizes; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).stdout == b"False\n"
