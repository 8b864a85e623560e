"""Masks, choices and rows of benchmarks equal what was recorded: to the bit where rounding is the same."""

import json

import pytest

from tests.house import numbers

WRITTEN = json.loads(numbers.RECORDED.read_text(encoding="utf-8"))
# On another kind of processor: a voxel of a border, a confidence near another.
CLOSE = {"dice": 0.02, "confidence": 0.02}


@pytest.mark.slow
@pytest.mark.parametrize("part", numbers.MEASURED)
def test_not_one_number_moves(part, request):
    if part != "demo":
        request.getfixturevalue("data_dir")
    if part == "weights":
        pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    found, written = numbers.MEASURED[part](), WRITTEN[part]
    assert found.keys() == written.keys()
    if numbers.here() == WRITTEN["on"]:
        assert found == written
        return
    for name, row in found.items():
        was = written[name]
        for figure in CLOSE.keys() & row.keys():
            assert row[figure] == pytest.approx(was[figure], abs=CLOSE[figure]), name
        assert row.get("voxels") == pytest.approx(was.get("voxels"), rel=0.02), name
        assert set(row.get("experts", ())) == set(was.get("experts", ())), name
