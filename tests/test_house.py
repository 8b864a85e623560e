"""The house rules a test can hold; each list of exceptions may only shrink."""

import ast
import configparser
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.clock import child_seconds

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sam_moe"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Modules without a test file of their own. Take names out; put none in.
UNTESTED = {
    "errors.py",  # names only
}

# Words that hide who does what, as a word or a part of an identifier.
UNPLAIN = re.compile(r"(?<![a-z])(?:said|told|tells?|hears?|nobody|whom)(?![a-z])", re.IGNORECASE)

LIGHT = ["sam_moe", "sam_moe.errors", "sam_moe.config", "sam_moe.registry", "sam_moe.prompts"]
LIGHT += ["sam_moe.prompts.promptset", "sam_moe.prompts.simulate", "sam_moe.cli"]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(params=MODULES, ids=name)
def module(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_no_file_outgrows_three_hundred_lines(module):
    assert len(module.read_text("utf-8").splitlines()) <= 300


def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(module.read_text("utf-8")))


def test_everything_public_is_documented(module):
    tree = ast.parse(module.read_text("utf-8"))
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, definitions) and not node.name.startswith("_") and not ast.get_docstring(node)
        if "overload" not in map(ast.unparse, node.decorator_list)  # the function itself is documented
    ]
    assert bare == []


def test_nothing_prints_outside_the_command_line(module):
    if module.relative_to(PACKAGE).parts[0] in ("cli.py", "cli"):
        return
    calls = (node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.Call))
    assert [node.lineno for node in calls if getattr(node.func, "id", None) == "print"] == []


def test_no_exception_is_caught_without_a_name(module):
    tree = ast.walk(ast.parse(module.read_text("utf-8")))
    assert [node.lineno for node in tree if isinstance(node, ast.ExceptHandler) and node.type is None] == []


def test_a_docstring_an_identifier_or_a_message_has_plain_words(module):
    found = UNPLAIN.findall(module.read_text("utf-8"))
    assert found == [], "write the fact: see Plain words in STYLE.md"


def names_of_two_classes(files: list[Path]) -> set[str]:
    trees = (ast.parse(path.read_text("utf-8")) for path in files)
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return {name for name, count in names.items() if count > 1 and not name.startswith("_")}


def test_no_two_public_classes_have_one_name(tmp_path):
    assert names_of_two_classes(MODULES) == set(), "name what sets them apart"
    (tmp_path / "a.py").write_text("class Box: ...\nclass Lid: ...\nclass _Own: ...\n")
    (tmp_path / "b.py").write_text("class Lid: ...\nclass _Own: ...\nclass Pen: ...\n")
    assert names_of_two_classes([tmp_path / "a.py", tmp_path / "b.py"]) == {"Lid"}


def too_many_parameters(path: Path) -> list[str]:
    """The functions of a file with more than seven parameters, self and cls not counted.

    A command of the command line is no such function: its parameters are the options it has.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [decorator.func for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
        if any(isinstance(call, ast.Attribute) and call.attr in ("command", "callback") for call in calls):
            continue
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        starred = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
        taken = [argument.arg for argument in named if argument.arg not in ("self", "cls")]
        if len(taken) + len(starred) > 7:
            found.append(f"{path}:{node.lineno}: {node.name}")
    return found


def test_no_function_takes_more_than_seven_parameters():
    files = [path for folder in ("sam_moe", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert [found for path in sorted(files) for found in too_many_parameters(path)] == [], "take a record"


def test_seven_parameters_are_counted_as_a_person_counts(tmp_path):
    (tmp_path / "x.py").write_text(
        "def seven(a, b, c, d, e, f, g): ...\n"
        "def eight(a, b, /, c, d, *e, f, g, h): ...\n"
        "class A:\n    def method(self, a, b, c, d, e, f, g): ...\n"
        "@app.command('x')\ndef options(a, b, c, d, e, f, g, h): ...\n"
    )
    assert too_many_parameters(tmp_path / "x.py") == [f"{tmp_path}/x.py:2: eight"]


def test_a_folder_has_at_most_fourteen_files():
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True).stdout
    files = [Path(file) for file in listed.decode().split("\0") if file and (ROOT / file).exists()]
    code = [file for file in files if file.parts[0] in ("sam_moe", "benchmarks", "tests")]
    full = {str(folder): count for folder, count in Counter(f.parent for f in code).items() if count > 14}
    assert full == {}


def test_there_is_a_line_of_test_for_each_line_of_source():
    def lines(*folders: str) -> int:
        files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
        return sum(len(path.read_text("utf-8").splitlines()) for path in files)

    assert lines("tests") >= lines("sam_moe"), "write better tests"


def test_nothing_is_left_to_do_later(module):
    assert re.findall(r"\b(?:TODO|FIXME|XXX)\b", module.read_text("utf-8")) == []


def test_shapes_stay_visible_to_the_checker(module):
    text = module.read_text("utf-8")
    assert not (re.search("jaxtyping|sam_moe.shapes", text) and "from __future__ import annotations" in text)


def test_no_drawer_for_everything_and_no_second_copies():
    stems = [part for path in MODULES for part in path.relative_to(PACKAGE).with_suffix("").parts]
    refused = re.compile(r"^(utils?|common|helpers?|misc)$|_(v\d+|legacy|ori|old|new)$")
    assert [stem for stem in stems if refused.search(stem)] == []


def has_tests(module: Path) -> bool:
    """Whether a module has its test file; an inner folder may be tested as one, or in a folder like it."""
    inside = module.relative_to(PACKAGE)
    folders = [folder for folder in inside.parents if len(folder.parts) > 1]
    files = [inside.with_name(f"test_{inside.name}"), *(f.with_name(f"test_{f.name}.py") for f in folders)]
    tests = ROOT / "tests"
    return any((tests / f).is_file() for f in files) or any(
        any((tests / f).glob("test_*.py")) for f in folders
    )


def test_tests_mirror_the_package():
    missing = {name(path) for path in MODULES if path.name != "__init__.py" and not has_tests(path)}
    assert missing - UNTESTED == set(), "write tests/<room>/test_<module>.py"
    assert UNTESTED - missing == set(), "these are tested now, or gone: take them out of UNTESTED"


@pytest.mark.parametrize("light", LIGHT)
def test_what_must_start_quickly_starts_without_torch(light):
    source = ROOT.joinpath(*light.split("."))
    if not source.is_dir() and not source.with_suffix(".py").is_file():
        pytest.skip(f"{light} has not been written yet")
    heavy = "['torch', 'scipy', 'monai', 'matplotlib']"
    program = f"import sys, {light}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


STARTED = [["--help"], ["checkpoints", "list"], ["experts", "list"]]


@pytest.mark.parametrize("verb", STARTED, ids=" ".join)
def test_a_light_verb_runs_without_torch(verb):
    program = (
        "import atexit, runpy, sys; sys.argv[0] = 'sam-moe';"
        "atexit.register(lambda: print('torch is', 'torch' in sys.modules, file=sys.stderr));"
        "runpy.run_module('sam_moe', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program, *verb], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "torch is False\n") and done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("verb", STARTED, ids=" ".join)
def test_a_light_verb_takes_little_processor_time(verb):
    assert child_seconds([sys.executable, "-m", "sam_moe", *verb], most=0.6) <= 0.6


@pytest.mark.slow
def test_imports_go_downwards():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    contracts = [section for section in setup_cfg().sections() if section.startswith("importlinter:contract")]
    assert f"Contracts: {len(contracts)} kept, 0 broken" in done.stdout
