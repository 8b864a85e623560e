"""Shape annotations are jaxtyping's, and nothing but the array type where it is missing."""

import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest

from sam_moe import shapes

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", shapes.__all__)
def test_shapes_are_jaxtypings_where_it_is_installed(name):
    assert getattr(shapes, name) is getattr(jaxtyping, name)


def test_without_jaxtyping_a_shape_is_its_array_type():
    program = (
        "import sys; sys.modules['jaxtyping'] = None\n"
        "from sam_moe import shapes\n"
        "print([getattr(shapes, name)[list, 'i j'] for name in shapes.__all__])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{[list] * 5}\n", done.stderr
