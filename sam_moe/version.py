"""The version of the package, and those of the libraries that numbers depend on."""

import platform
from collections.abc import Iterable

__version__ = "0.1.0"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python, of sam_moe and of these packages by name; "missing" where one is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # `import sam_moe` starts without it

    found = {"python": platform.python_version(), "sam_moe": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found
