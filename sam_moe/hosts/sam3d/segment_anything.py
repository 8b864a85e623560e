"""Lets `import segment_anything` work also where torchvision, which its 2-D helpers need, does not import.

Nothing in sam_moe computes with it: `transformer.py` is quicker (benchmarks/README.md), and the tests hold
it against segment-anything's blocks. The shim is for them and for those who use both, who call

    from sam_moe.hosts.sam3d.segment_anything import prepare
    prepare()

before the import. Nothing else puts it in place: `import sam_moe` leaves the import system as it was.
"""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

_log = logging.getLogger(__name__)

# The names that `segment_anything/__init__.py` reaches for, by the module that holds them.
_NEEDED = {
    "torchvision.ops.boxes": ("batched_nms", "box_area"),
    "torchvision.transforms.functional": ("resize", "to_pil_image"),
}


def prepare() -> None:
    """Stand by for an import of segment-anything; nothing is imported before.

    The real torchvision is used wherever it imports. Elsewhere stand-ins take its place for the moment of
    the import and are removed again, so that what imports torchvision later meets the truth. The few
    helpers that would need it raise ImportError when called (automatic mask generation, 2-D image resizing).
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds segment-anything where it lies, and has it loaded with a torchvision to import.

    A `path` is a list, or what Python makes for folders without an `__init__.py`, which is no `Sequence`.
    """

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "segment_anything":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _some_torchvision():
            self.real.exec_module(module)


@contextmanager
def _some_torchvision() -> Iterator[None]:
    """The real torchvision, or stand-ins for as long as the block runs."""
    found = _torchvision_modules()
    try:
        for module, names in _NEEDED.items():
            for name in names:
                getattr(importlib.import_module(module), name)
    except Exception as error:  # missing, or broken in any way: beside a CPU torch it raises RuntimeError
        _log.info("torchvision does not import (%s); its stand-ins serve segment-anything", error)
    else:
        yield
        return
    _replace_torchvision(_stand_ins())
    try:
        yield
    finally:
        _replace_torchvision(found)


def _torchvision_modules() -> dict[str, ModuleType]:
    return {n: m for n, m in sys.modules.items() if n == "torchvision" or n.startswith("torchvision.")}


def _replace_torchvision(modules: dict[str, ModuleType]) -> None:
    for name in _torchvision_modules():
        del sys.modules[name]
    sys.modules.update(modules)


def _stand_ins() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for path, names in _NEEDED.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            modules.setdefault(".".join(parts[:depth]), ModuleType(".".join(parts[:depth])))
        for name in names:
            setattr(modules[path], name, _absent)
    return modules


def _absent(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise ImportError(
        "this helper of segment-anything needs torchvision, which is missing or broken here. "
        "Install the torchvision that fits your torch (for a CPU torch: from the same index as torch)."
    )
