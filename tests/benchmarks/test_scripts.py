"""Every script says how it is called and answers `--help`; every module imports by its name."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
MODULES = sorted(path for path in FOLDER.rglob("*.py") if path.name != "__init__.py")
PAGES = [
    ROOT / "README.md",
    *sorted(FOLDER.glob("*.md")),
    ROOT / "checkpoints" / "README.md",
    ROOT / "Makefile",
]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


SCRIPTS = [dotted(path) for path in MODULES if 'if __name__ == "__main__":' in path.read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_answers_help_and_names_its_own_command(name, monkeypatch, capsys):
    script = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage:" in shown and f"python -m {name}" in script.__doc__
    options = set(re.findall(r"--[a-z][a-z-]+", script.__doc__))
    assert options <= set(re.findall(r"--[a-z][a-z-]+", shown.split("\n\n")[0])), (
        "the page names unknown options"
    )


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_says_what_it_is_for_and_imports_its_neighbours_by_their_whole_names(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(path.read_text("utf-8").splitlines()) <= 300
    neighbours = {other.stem for other in MODULES} - {"operations"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module and node.module.split(".")[0] not in neighbours


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_in_the_pages_name_scripts_that_exist(page):
    named = re.findall(r"python -m (benchmarks\.[a-z0-9_.]*[a-z0-9_])", page.read_text("utf-8"))
    assert set(named) <= set(SCRIPTS)


@pytest.mark.parametrize("page", [FOLDER / "README.md"], ids=["README.md"])
def test_results_in_the_page_are_there(page):
    named = re.findall(r"`(results/[\w/.]+)`", page.read_text("utf-8"))
    assert named and [name for name in named if not (FOLDER / name).exists()] == []


def test_the_benchmarks_are_not_installed_with_the_package():
    assert re.search(r"^include = sam_moe\*$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
