"""What the package asks for and what its wheel carries agree with setup.cfg and constraints.txt."""

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

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "sam_moe").rglob("*.py"))


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
