"""What all tests share: checked shapes, one thread, seeded generators, and where real data lies."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from beartype import BeartypeConf, beartype
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")


def checked(function):
    """beartype, with `int` accepted where `float` is asked for, as Python and mypy do."""
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


# Only in tests: every shape annotation in sam_moe is checked on every call. jaxtyping wants the checker by
# name and finds it here.
sys.modules.setdefault("sam_moe_checked", sys.modules[__name__])
install_import_hook("sam_moe", "sam_moe_checked.checked")

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give torch one thread and skip what needs a card where there is none; only where torch is used."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; this machine has none"))


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
