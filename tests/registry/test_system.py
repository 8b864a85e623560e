"""A card's paper and an expert's kind are known by name, and nothing of either is imported for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sam_moe.registry.system import DEFAULT_SYSTEM, SYSTEMS, check_kind, expert_kinds
from sam_moe.variants import checked

ROOT = Path(__file__).resolve().parents[2]


def test_the_papers_are_the_rooms_of_systems():
    assert DEFAULT_SYSTEM in SYSTEMS.own
    assert checked(SYSTEMS, DEFAULT_SYSTEM) == DEFAULT_SYSTEM
    with pytest.raises(ValueError, match=r"system 'sam_med' is unknown\. Known, nearest first: sam_med"):
        checked(SYSTEMS, "sam_med")


def test_the_first_papers_kinds_are_those_of_a_card_that_names_no_paper():
    assert expert_kinds(None) == expert_kinds(DEFAULT_SYSTEM)
    assert expert_kinds(None).own == ("decoder", "full", "lora")
    assert check_kind("lora", None) == "lora"
    with pytest.raises(ValueError, match=r"expert kind 'lore' is unknown\. Known, nearest first: lora"):
        check_kind("lore", DEFAULT_SYSTEM)


def test_names_are_checked_without_torch_and_without_the_paper():
    program = (
        "import sys; from sam_moe.registry.system import check_kind, expert_kinds;"
        "check_kind('full', None);"
        "print([m for m in sys.modules if m == 'torch' or m.startswith('sam_moe.systems.sam_med3d_moe.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
