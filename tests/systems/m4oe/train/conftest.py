"""Scans that are written once, and a training that has run once; tests look at both and change neither."""

from types import SimpleNamespace

import pytest

from sam_moe.systems.m4oe.train.following import follow
from tests.systems.m4oe.scans import write_data, write_recipe


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """The folder of two data sets."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="package")
def whole(data, tmp_path_factory):
    """A recipe that was followed without a stop: its file, its run's folder, the stages of its progress."""
    run, stages = tmp_path_factory.mktemp("run") / "whole", []
    path = write_recipe(data, run)
    weights = follow(path, progress=lambda stage, share: stages.append(stage))
    return SimpleNamespace(path=path, run=run, weights=weights, stages=list(dict.fromkeys(stages)))
