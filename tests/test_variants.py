"""Variants are found by the names of files and of entry points, without an import."""

import os
import subprocess
import sys

import pytest

from sam_moe.errors import ConfigError
from sam_moe.variants import Variants


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with variants in a room, and another that offers one by an entry point."""
    room = tmp_path / "shop" / "tools"
    room.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").touch()
    (room / "__init__.py").touch()
    (room / "hammer.py").write_text("class Hammer: ...\n")
    (room / "long_saw.py").write_text("class LongSaw: ...\n")
    (room / "_bench.py").write_text("raise RuntimeError('no variant')\n")
    (tmp_path / "other.py").write_text("class Drill: ...\n")
    offer(tmp_path, "drill = other:Drill\nlost = nowhere:Lost\nhammer = other:Drill\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Variants("tool", "shop.tools", "shop.tools")
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop", "other")]:
        del sys.modules[name]


def offer(folder, lines, name="other"):
    """What pip leaves of an installed package that has entry points."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text(f"[shop.tools]\n{lines}")


def test_a_rooms_files_and_entry_points_are_the_names(package):
    assert package.names == ("hammer", "long_saw", "drill", "lost")


def test_a_variant_is_the_class_named_as_its_file_and_a_rooms_own_comes_first(package):
    assert package.load("long_saw").__name__ == "LongSaw"
    assert package.load("hammer").__name__ == "Hammer"
    assert package.load("drill").__name__ == "Drill"


def test_a_fixed_name_can_be_looked_for_instead(package):
    by_name = Variants("tool", package.room, package.group, attribute="Hammer")
    assert by_name.load("hammer").__name__ == "Hammer"


def test_an_unknown_name_is_an_error_with_the_nearest_first(package):
    with pytest.raises(ConfigError, match=r"tool 'hamer' is unknown. Known, nearest first: hammer"):
        package.load("hamer")


def test_what_another_package_cannot_give_names_that_package(package):
    with pytest.raises(ConfigError, match=r"'lost' of other .*ModuleNotFoundError.*uninstall other"):
        package.load("lost")


def test_a_name_that_two_packages_offer_names_both_when_it_is_loaded(package, tmp_path):
    offer(tmp_path, "drill = nowhere:Drill\nfile = other:Drill\n", "second")
    assert package.names == ("hammer", "long_saw", "drill", "file", "lost")
    assert package.check("drill") == "drill"
    with pytest.raises(ConfigError, match=r"tool 'drill' is offered by other and second. Uninstall one"):
        package.load("drill")
    assert package.load("file").__name__ == "Drill"


def test_one_package_that_is_found_twice_offers_its_names_once(package, tmp_path, monkeypatch):
    again = tmp_path / "again"
    again.mkdir()
    offer(again, "drill = nowhere:Drill\n")
    monkeypatch.syspath_prepend(again)
    monkeypatch.syspath_prepend(tmp_path)
    assert package.load("drill").__name__ == "Drill"


def test_a_package_installed_while_we_run_is_known_from_then_on(package, tmp_path, monkeypatch):
    assert "axe" not in package.names
    offer(tmp_path, "axe = other:Drill\n", "second")
    os.utime(tmp_path, (1, 1))  # two changes within a tick of the clock look alike
    assert package.load("axe").__name__ == "Drill"
    later = tmp_path / "later"
    later.mkdir()
    offer(later, "file = other:Drill\n", "third")
    monkeypatch.syspath_prepend(later)
    assert package.load("file").__name__ == "Drill"


class Counter:
    """A finder of packages that finds none, and counts how often it is asked for all."""

    def __init__(self):
        self.asked = 0

    def find_spec(self, name, path=None, target=None):
        return None

    def find_distributions(self, context):
        self.asked += context.name is None
        return []


def test_installed_packages_are_looked_through_once_and_for_own_names_never(package, monkeypatch):
    counter = Counter()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, counter])
    assert package.check("hammer") and package.load("long_saw")
    assert counter.asked == 0
    for _ in range(3):
        assert package.check("drill") and package.load("drill") and package.names
    assert counter.asked == 1


def test_names_are_known_without_an_import(package, tmp_path):
    program = (
        "import sys; from sam_moe.variants import Variants; v = Variants('t', 'shop.tools', 'shop.tools');"
        "print(v.names, [m for m in sys.modules if m.startswith(('shop.tools.', 'other', 'torch'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "('hammer', 'long_saw', 'drill', 'lost') []\n"
