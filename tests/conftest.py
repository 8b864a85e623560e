"""What all tests share: checked shapes, one thread, seeded generators, and where real data lies."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from beartype import BeartypeConf, FrozenDict, beartype
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")


_CHECKS = BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({ArrayLike: object}))


def checked(function):
    """beartype, which takes `int` for `float` as mypy does, and anything for NumPy's ArrayLike.

    Seen at run time ArrayLike has no tuples in it: a tuple lacks `__reversed__`.
    """
    return beartype(conf=_CHECKS)(function)


# Only in tests: every shape annotation in sam_moe is checked on every call. jaxtyping wants the checker by
# name and finds it here.
sys.modules.setdefault("sam_moe_checked", sys.modules[__name__])
install_import_hook("sam_moe", "sam_moe_checked.checked")

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none; give torch one thread, if it is there at all."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device; this machine has none")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real scans: $SAM_MOE_DATA, by default ../shared/data beside the repository."""
    folder = Path(os.environ.get("SAM_MOE_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set SAM_MOE_DATA to a folder that has them")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A NumPy generator that starts the same in every test."""
    return np.random.default_rng(20_240_704)


@pytest.fixture
def generator() -> "torch.Generator":
    """A torch generator that starts the same in every test."""
    import torch

    return torch.Generator().manual_seed(20_240_704)


@pytest.fixture
def small_disk(tmp_path):
    """A file system with 64 kB of room."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
