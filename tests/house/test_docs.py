"""What the pages say is what the code does: their Python runs, and prints what they show.

In a page, the ```python blocks run in order in one namespace, in a fresh interpreter at the repository's
root. A ```text block that directly follows one must be what that block printed: word for word, numbers to one
part in a hundred (processors round differently, and a mask has voxels on its edge). Times vary between
machines, so in both every number before " ms" is read as "…". Functions named `test_…` in a page are run.
"""

import doctest
import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "STYLE.md", "prompts/README.md", "checkpoints/README.md", "benchmarks/README.md"]

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)

# Runs in a fresh interpreter, as a reader's would: no type checkers, nothing imported yet.
_RUNNER = """
import contextlib, io, json, sys
page, blocks = sys.argv[1], json.load(sys.stdin)
namespace, printed = {"__name__": "__main__"}, []
for line, code in blocks:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * (line - 1) + code, page, "exec"), namespace)
    printed.append(out.getvalue())
for name in [name for name in namespace if name.startswith("test_")]:
    namespace[name]()
print(json.dumps(printed))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of Python, the line it starts on, and the output the page shows right after it."""

    line: int
    code: str
    shown: str | None


def blocks(page: str) -> list[Block]:
    """The Python blocks of a page, in order."""
    fences = list(_FENCE.finditer(page))
    found = []
    for number, fence in enumerate(fences):
        if fence["language"] != "python":
            continue
        following = fences[number + 1] if number + 1 < len(fences) else None
        shown = None
        if (
            following
            and following["language"] == "text"
            and not page[fence.end() : following.start()].strip()
        ):
            shown = following["body"]
        found.append(Block(page[: fence.start("body")].count("\n") + 1, fence["body"], shown))
    return found


def comparable(output: str) -> str:
    """Output without what varies between machines: times, and blanks at line ends."""
    lines = re.sub(r"[\d…][\d,.]*(?= ms\b)", "…", output).rstrip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def agree(printed: str, shown: str) -> bool:
    """Whether words are the same and numbers differ by a hundredth at most."""
    number = re.compile(r"\d[\d,]*(?:\.\d+)?")
    a, b = comparable(printed), comparable(shown)
    if number.sub("#", a) != number.sub("#", b):
        return False
    pairs = zip(number.findall(a), number.findall(b), strict=True)
    values = ((float(x.replace(",", "")), float(y.replace(",", ""))) for x, y in pairs)
    return all(abs(x - y) <= 0.01 * abs(y) for x, y in values)


def run(name: str, found: list[Block]) -> list[str]:
    """What each block prints; the page's own line numbers appear in tracebacks."""
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, name],
        input=json.dumps([(block.line, block.code) for block in found]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{name} does not run:\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(name):
    path = ROOT / name
    found = blocks(path.read_text(encoding="utf-8"))
    if not found:
        pytest.skip(f"{name} has no python blocks")
    for block, printed in zip(found, run(name, found), strict=True):
        if block.shown is not None:
            where = f"{name}, block at line {block.line}"
            assert agree(printed, block.shown), f"{where} prints\n{printed}and shows\n{block.shown}"


def test_a_page_is_cut_into_blocks_and_what_they_print():
    run_and_shown = "intro\n```python\nprint(1)\n```\n\n```text\n1\n```\n"
    not_run, not_shown = "```py\nno\n```\n", "```python\nx = 2\n```\nwords\n```text\nno output\n```\n"
    page = run_and_shown + not_run + not_shown
    assert blocks(page) == [Block(3, "print(1)\n", "1\n"), Block(13, "x = 2\n", None)]


def test_blocks_share_names_and_their_outputs_stay_apart():
    found = [Block(1, "x = 2\nprint(x)", None), Block(9, "print(x + 1)", None)]
    assert run("a page", found) == ["2\n", "3\n"]


def test_a_page_that_fails_names_its_own_line():
    with pytest.raises(AssertionError, match=r'File "a page", line 7'):
        run("a page", [Block(6, "x = 1\nx.nothing\n", None)])


def test_times_are_not_compared_words_exactly_and_numbers_to_a_hundredth():
    assert agree("11.5 ml · 38 ms \n", "11.5 ml · 1,204.5 ms")
    assert agree("11.5 ml · … ms", "11.5 ml · 38 ms")
    assert agree("9,508 voxels", "9,600 voxels")
    assert not agree("9,508 voxels", "9,700 voxels")
    assert not agree("11.5 ml · 38 ms", "11.7 ml · 38 ms")
    assert not agree("11.5 ml", "11.5 cm")
    assert not agree("1 2", "1")


def modules_with_examples() -> list[str]:
    sources = (path for path in sorted((ROOT / "sam_moe").rglob("*.py")) if ">>> " in path.read_text("utf-8"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in sources
    ]


@pytest.mark.parametrize("module", modules_with_examples())
def test_the_examples_in_docstrings_are_true(module):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0
