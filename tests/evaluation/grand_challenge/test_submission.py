"""A fake SPPIN goes end to end through the files of both containers."""

import json

import pytest

from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.protocols import scripts_for
from sam_moe.evaluation.challenge.challenge import load_challenge
from sam_moe.evaluation.grand_challenge.submission import submit
from sam_moe.evaluation.results import read_result
from tests.evaluation.answerers import Growing
from tests.evaluation.fake_sppin import make_fake_sppin


class Boxed(Growing):
    """All of the box, but of the first scan it was shown."""

    def open(self, scan):
        super().open(scan)
        self.bright[:] = True
        self.opened = getattr(self, "opened", 0) + 1

    def answer(self, items):
        if self.opened == 1:
            raise RuntimeError("not yet warm")
        return super().answer(items)


@pytest.fixture
def sppin(tmp_path, monkeypatch):
    monkeypatch.delenv("SAM_MOE_DATA", raising=False)
    return load_challenge(make_fake_sppin(tmp_path / "sppin", patients=2))


@pytest.mark.slow
def test_a_fake_sppin_is_answered_and_judged_through_the_containers_files(sppin, tmp_path):
    done = submit(sppin, Boxed("boxed"), scripts_for("box"), tmp_path / "out")
    kept = read_result(tmp_path / "out")
    assert kept.rows == done.rows and len(kept.rows) == 4
    assert [row.status for row in kept.rows] == ["missing", "ok", "ok", "ok"]
    # A box around a ball holds 6/pi of it: Dice 2 / (1 + 6/pi) = 0.69.
    assert all(0.5 < row.dice < 0.8 for row in kept.rows[1:])
    metrics = json.loads((tmp_path / "out/grand-challenge/output/metrics.json").read_text())
    assert metrics["recommended"]["n_missed"] == 1
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_container_has_one_mask_a_case(sppin, tmp_path):
    with pytest.raises(ConfigError, match="2 protocols for one mask"):
        submit(sppin, Growing(), scripts_for("click,box"), tmp_path / "out")
