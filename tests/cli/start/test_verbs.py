"""`sam-moe doctor` ends by what it finds; `sam-moe demo` writes into a folder of its own."""

import json

import pytest

from sam_moe.registry.finding import DEFAULT_MODEL
from tests.systems.m4oe.automatics import write_automatic


def test_a_machine_without_weights_ends_with_one(sam_moe, cards):
    assert sam_moe("doctor", "--json").code == 0
    (cards / DEFAULT_MODEL / "model.safetensors").unlink()
    ran = sam_moe("doctor", "--json")
    assert (ran.code, json.loads(ran.out)["usable"], ran.err) == (1, False, "")


@pytest.mark.slow
def test_the_demonstration_replaces_only_its_own_files(sam_moe, cards, tmp_path):
    write_automatic(cards, id="auto-small")
    out = tmp_path / "demo"
    ran = sam_moe("demo", "--out", out)
    assert ran.code == 0 and "Dice" in ran.out
    assert (out / "mr.png").is_file() and (out / "ct.png").is_file()
    (out / "mr.png").write_text("not ours")
    again = sam_moe("demo", "--out", out)
    assert again.code == 1 and "mr.png" in again.err
    assert (out / "mr.png").read_text() == "not ours"
    (out / "mr.png").unlink()
    (out / "ct-labels.png").write_text("not ours")
    refused = sam_moe("demo", "--out", out)
    assert refused.code == 1 and "ct-labels.png" in refused.err
    assert sam_moe("demo", "--out", out, "--force").code == 0
