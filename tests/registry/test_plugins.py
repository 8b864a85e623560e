"""Packages offer experts by an entry point; they are listed by name and imported only when used."""

import sys

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import plugins


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package of one module, with an entry point, where Python looks."""

    def put(module, code, target):
        site = tmp_path / f"site-{module}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sam_moe.experts]\nspine = {module}:{target}\n")
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return put


def offered():
    return [plugin for plugin in plugins() if plugin.name == "spine"]


@pytest.mark.parametrize(
    ("module", "code", "target"),
    [
        ("spine_by_path", "from pathlib import Path\nFOLDER = Path({!r})", "FOLDER"),
        ("spine_by_text", "FOLDER = {!r}", "FOLDER"),
        ("spine_by_call", "def folder():\n    return {!r}", "folder"),
    ],
)
def test_a_packages_folder_is_listed_by_name_and_opened_on_use(
    tmp_path, install, module, code, target, placed, expert_card
):
    placed(tmp_path / "cards", expert_card())
    install(module, code.format(str(tmp_path / "cards")).replace("PosixPath", ""), target)
    (plugin,) = offered()
    assert (plugin.name, plugin.package) == ("spine", module)
    assert module not in sys.modules
    assert [entry.card.id for entry in plugin.registry().experts()] == ["cord"]


@pytest.mark.parametrize(
    ("module", "code", "complaint"),
    [
        (
            "spine_raising",
            "def folder():\n    raise OSError('no disk')",
            r"cannot be loaded \(OSError: no disk\)",
        ),
        ("spine_absent", "", r"cannot be loaded \(AttributeError"),
        ("spine_number", "folder = 3", r"gives 3, not the path of a folder"),
        ("spine_nowhere", "folder = '/no/such'", r"gives '/no/such', not the path of a folder"),
    ],
)
def test_a_broken_package_is_named_with_what_to_do(install, module, code, complaint):
    install(module, code, "folder")
    (plugin,) = offered()
    with pytest.raises(CardError, match=complaint) as caught:
        plugin.registry()
    assert str(caught.value).startswith(f"entry point 'spine' of {module} (sam_moe.experts, {module}:folder)")
    assert f"Repair or uninstall {module}." in str(caught.value)
