"""The command: its version, and help that comes at once."""

import resource
import subprocess
import sys

import pytest
import typer

import sam_moe as package
from sam_moe.cli.app import app


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_comes_in_under_half_a_second(process, words):
    """Of the processor's time, which a busy machine does not stretch as it does the clock's."""
    spent = []
    while min(spent, default=1) >= 0.5 and len(spent) < 20:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process(*words).wait(timeout=60) == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5, spent


def test_help_imports_nothing_heavy():
    heavy = "['torch', 'numpy', 'nibabel', 'rich']"
    program = (
        "import sys; from sam_moe.cli import main; main(['predict', '--help']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_it_shows_its_version(sam_moe):
    assert sam_moe("--version").out == f"sam-moe {package.__version__}\n"


def test_every_verb_is_reached_under_one_name_and_no_group_is_empty():
    root = typer.main.get_command(app)
    verbs = [
        (group, verb) for group, inner in root.commands.items() for verb in getattr(inner, "commands", [""])
    ]
    assert len(verbs) == len(set(verbs)) and {group for group, _ in verbs} == set(root.commands)
    assert {"predict", "checkpoints", "experts", "gates", "evaluate", "doctor"} <= set(root.commands)
