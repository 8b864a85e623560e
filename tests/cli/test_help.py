"""What --help prints, to the letter, as it is kept in help.txt; and that no verb lacks it.

After a wanted change: `python -m tests.cli.test_help > tests/cli/help.txt`, and read the difference.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from sam_moe.cli.app import app

KEPT = Path(__file__).with_name("help.txt")


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every verb and group, as it is typed."""
    yield path
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from verbs(inner, (*path, name))


def every_help() -> str:
    """The help of all verbs on a terminal of 100 columns, after the version of typer that writes it."""
    root, pages = typer.main.get_command(app), [f"typer {version('typer')}\n"]
    for path in verbs(root):
        with contextlib.redirect_stdout(io.StringIO()) as page, contextlib.suppress(SystemExit):
            root.main([*path, "--help"], prog_name="sam-moe", standalone_mode=False)
        pages.append(f"$ {' '.join(['sam-moe', *path, '--help'])}\n{page.getvalue()}")
    return "\n".join(pages)


def test_help_is_what_was_kept():
    kept = KEPT.read_text("utf-8")
    if kept.partition("\n")[0] != f"typer {version('typer')}":
        pytest.skip("another version of typer lays out help otherwise; constraints.txt names ours")
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.test_help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=KEPT.parents[2],
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.stdout.splitlines() == kept.splitlines()


def test_every_option_of_every_verb_says_what_it_does():
    root = typer.main.get_command(app)
    for path in verbs(root):
        command: Any = root
        for name in path:
            command = command.commands[name]
        assert command.help or not path, path
        silent = [param.name for param in command.params if not getattr(param, "help", None)]
        assert silent == [], path


if __name__ == "__main__":
    sys.stdout.write(every_help())
