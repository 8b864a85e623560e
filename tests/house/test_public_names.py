"""`import sam_moe`: quick, and every name it promises is there."""

import subprocess
import sys
from pathlib import Path

import pytest

import sam_moe

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_importing_the_package_and_asking_for_a_prompt_starts_no_torch():
    script = (
        "import sys, sam_moe; sam_moe.__version__; sam_moe.Point; dir(sam_moe);"
        "assert 'torch' not in sys.modules; sam_moe.Grid; sam_moe.load; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_every_public_name_is_there_and_no_other():
    assert set(sam_moe.__all__) <= set(dir(sam_moe))
    for name in sam_moe.__all__:
        assert getattr(sam_moe, name) is not None
    with pytest.raises(AttributeError, match=r"sam_moe has no 'segment'.*load"):
        _ = sam_moe.segment
