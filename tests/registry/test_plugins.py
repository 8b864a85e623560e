"""Packages offer experts by an entry point; they are listed by name and imported only when used."""

import sys

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import plugins
from sam_moe.registry.finding import find_expert, find_model
from sam_moe.registry.plugins import offered


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


def named_spine():
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
    (plugin,) = named_spine()
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
    (plugin,) = named_spine()
    with pytest.raises(CardError, match=complaint) as caught:
        plugin.registry()
    assert str(caught.value).startswith(f"entry point 'spine' of {module} (sam_moe.experts, {module}:folder)")
    assert f"Repair or uninstall {module}." in str(caught.value)


def test_a_broken_package_does_not_hide_that_an_id_is_unknown_nor_the_cards_of_another(
    tmp_path, install, placed, expert_card
):
    install("spine_missing", "folder = '/no/such'", "folder")
    with pytest.raises(CardError, match=r"^no expert with id 'cord2'\. .* Not searched: .*spine_missing"):
        find_expert("cord2")
    with pytest.raises(CardError, match=r"^no model with id 'cord2' .* Not searched: .*spine_missing"):
        find_model("cord2")
    placed(tmp_path / "cards", expert_card(id="cord2"))
    install("spine_here", f"folder = {str(tmp_path / 'cards')!r}", "folder")
    assert find_expert("cord2").path == find_model("cord2").path == tmp_path / "cards" / "cord2" / "card.json"
    entries, broken = offered()
    assert "cord2" in [entry.card.id for entry in entries] and len(broken) == 1
