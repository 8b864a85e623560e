"""The house rules a test can hold; each list of exceptions may only shrink."""

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sam_moe"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Modules without a test file of their own. Take names out; put none in.
UNTESTED = {
    "errors.py",  # names only
}

LIGHT = ["sam_moe", "sam_moe.errors", "sam_moe.config", "sam_moe.registry", "sam_moe.prompts"]
LIGHT += ["sam_moe.prompts.promptset", "sam_moe.prompts.simulate", "sam_moe.cli"]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(tests: bool = True) -> list[Requirement]:
    parser = setup_cfg()
    lines = parser["options"]["install_requires"] + parser["options.extras_require"]["test"] * tests
    return [Requirement(line) for line in lines.splitlines() if line.strip() and not line.startswith("#")]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def plain(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement).lower()


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


@pytest.mark.slow
def test_imports_go_downwards():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_everything_we_ask_for_is_pinned_within_its_range():
    versions = pins()
    for requirement in requirements():
        assert plain(requirement.name) in versions, f"{requirement.name} has no line in constraints.txt"
        assert requirement.specifier.contains(versions[plain(requirement.name)])


def imported(path: Path) -> set[str]:
    """Top-level names of the third-party packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    local = {file.stem for file in path.parent.glob("*.py")} | {"sam_moe", "tests", "benchmarks"}
    return names - local - set(sys.stdlib_module_names)


def test_everything_we_import_is_asked_for():
    homes = packages_distributions()
    always = {plain(requirement.name) for requirement in requirements(tests=False)}
    testing = {plain(requirement.name) for requirement in requirements()}
    # torchvision is imported by a shim only where it is there; see DESIGN.md.
    for files, declared in (
        (MODULES, always | {"torchvision"}),
        (sorted((ROOT / "tests").rglob("*.py")), testing),
    ):
        wanted = {found: path for path in files for found in imported(path)}
        missing = {
            f"{found} ({path.relative_to(ROOT)})"
            for found, path in wanted.items()
            if not {plain(home) for home in homes.get(found, [found])} & declared
        }
        assert missing == set(), "add them to setup.cfg and constraints.txt"


def test_nothing_pulls_torchvision():
    assert not {"torchvision", "torchaudio"} & set(pins())


def test_each_folder_of_cards_goes_into_a_wheel():
    declared = setup_cfg()["options.data_files"]
    folder = ROOT / "checkpoints"
    cards = sorted(path.parent.name for path in folder.glob("*/card.json")) if folder.is_dir() else []
    for card in cards:
        assert declared.get(f"share/sam_moe/checkpoints/{card}") == f"checkpoints/{card}/*"


def test_the_changelog_names_this_version_or_what_is_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    import sam_moe

    assert "## [Unreleased]" in text
    assert f"## {sam_moe.__version__}" in text


def test_the_licence_is_the_whole_of_apache_2():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text and "APPENDIX: How to apply the Apache License" in text
    assert len(text.splitlines()) == 202


@pytest.mark.slow
def test_a_wheel_carries_types_and_prompt_files(tmp_path):
    program = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    tree = tmp_path / "tree"
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True).stdout
    for tracked in filter(None, listed.decode().split("\0")):
        source = ROOT / tracked
        if source.is_file() and not tracked.startswith(("tests/", "benchmarks/")):
            (tree / tracked).parent.mkdir(parents=True, exist_ok=True)
            (tree / tracked).write_bytes(source.read_bytes())
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {entry.split(".data/data/")[-1] for entry in zipfile.ZipFile(wheel).namelist()}
    assert {"sam_moe/py.typed", "sam_moe/prompts/prompt.py"} <= inside
    assert "share/sam_moe/prompts/promptset.schema.json" in inside
    assert not any(entry.startswith("tests/") for entry in inside)
