"""Challenges small enough for a test, from `drawn.py`."""

import pytest

from sam_moe.evaluation.challenge.challenge import Case, load_challenge
from tests.evaluation.drawn import pairs, write_image, write_labels, yaml_at


@pytest.fixture
def no_data_folder(monkeypatch):
    monkeypatch.delenv("SAM_MOE_DATA", raising=False)


@pytest.fixture
def plain(tmp_path, no_data_folder):
    """Three cases of two patients in plain folders, asked for structures one and both."""
    pairs(tmp_path / "set", ["p1_CT", "p1_MR", "p2_CT"])
    text = """
name: plain
sets:
  - {layout: folders, root: set, patient: '^(p[0-9])', strata: {modality: '_(CT|MR)'}, fixed: {site: here}}
labels: {one: [1], both: [1, 2]}
"""
    return load_challenge(yaml_at(tmp_path, text))


@pytest.fixture
def case(tmp_path):
    """One case with structures one (1) and two (2)."""
    scan, truth = write_image(tmp_path / "scan.nii.gz"), write_labels(tmp_path / "truth.nii.gz")
    return Case("c1", "p1", {"image": scan}, "image", truth, {"modality": "CT"}, {"one": (1,), "two": (2,)})
