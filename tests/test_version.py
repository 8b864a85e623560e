"""Which version this is, and which libraries are here."""

import configparser
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from subprocess import run

import sam_moe
from sam_moe.version import __version__, versions

ROOT = Path(__file__).resolve().parents[1]


def test_a_wheel_is_named_after_the_version_that_is_written_once():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert parser["metadata"]["version"] == "attr: sam_moe.version.__version__"
    assert sam_moe.__version__ == __version__ == version("sam-moe")


def test_versions_are_those_of_what_is_installed_and_of_nothing_else_missing():
    found = versions(["numpy", "no-such-package-anywhere"])
    assert found == {
        "python": platform.python_version(),
        "sam_moe": __version__,
        "numpy": version("numpy"),
        "no-such-package-anywhere": "missing",
    }


def test_the_version_alone_is_read_without_the_metadata_of_packages():
    program = "import sys, sam_moe; print(sam_moe.__version__, 'importlib.metadata' in sys.modules)"
    done = run([sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == [__version__, "False"]
