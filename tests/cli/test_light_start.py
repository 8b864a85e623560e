"""What only reads cards starts without torch, seen in what a fresh interpreter has loaded and in its time."""

import json
import resource
import subprocess
import sys

import pytest

LIGHT = [
    ["--help"],
    ["checkpoints", "list"],
    ["checkpoints", "list", "--json"],
    ["checkpoints", "show", "small"],
    ["gates", "list"],
    ["experts", "list"],
    ["experts", "list", "--json"],
    ["experts", "show", "esophagus"],
    ["experts", "--help"],
    ["finetune", "--help"],
]
HEAVY = ("torch", "numpy", "scipy", "safetensors", "nibabel", "SimpleITK", "matplotlib", "rich", "accelerate")
MOST_SECONDS = 0.6

PROGRAM = """
import contextlib, io, json, sys
from sam_moe.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = main(sys.argv[1:])
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([code, len(out.getvalue()), loaded]))
"""


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_what_only_reads_cards_loads_nothing_heavy(words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True, timeout=60
    )
    code, letters, loaded = json.loads(done.stdout)
    assert code == 0 and letters > 100
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["checkpoints", "list"], ["experts", "list"]], ids=" ".join)
def test_it_takes_at_most_this_much_of_the_processors_time(words):
    """Of the processor's time, which a busy machine does not stretch as it does the clock's."""
    spent = []
    while min(spent, default=MOST_SECONDS) >= MOST_SECONDS and len(spent) < 10:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "sam_moe", *words], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < MOST_SECONDS, spent
