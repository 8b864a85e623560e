"""Imports segment-anything also where torchvision is missing or broken, which its 2-D helpers alone need.

Nothing in sam_moe computes with it: `transformer.py` is quicker (benchmarks/README.md), and the tests hold it
against segment-anything's blocks. This door is for them and for those who use both: after `load()`, a plain
plain `import segment_anything` works too.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import Any, NoReturn

_log = logging.getLogger(__name__)

# The names that `segment_anything/__init__.py` reaches for, by the module that holds them.
_NEEDED = {
    "torchvision.ops.boxes": ("batched_nms", "box_area"),
    "torchvision.transforms.functional": ("resize", "to_pil_image"),
}


def load() -> ModuleType:
    """Import segment-anything, with the real torchvision wherever that imports.

    Elsewhere stand-ins take torchvision's place for the moment of the import and are removed again, so that
    what imports torchvision later meets the truth. The few helpers that would need it raise ImportError when
    called (automatic mask generation, 2-D image resizing).
    """
    if "segment_anything" in sys.modules:
        return sys.modules["segment_anything"]
    found = _torchvision_modules()
    try:
        for module, names in _NEEDED.items():
            for name in names:
                getattr(importlib.import_module(module), name)
    except Exception as error:  # missing, or broken in any way: beside a CPU torch it raises RuntimeError
        _log.info("torchvision does not import (%s); its stand-ins serve segment-anything", error)
    else:
        return importlib.import_module("segment_anything")
    _replace_torchvision(_stand_ins())
    try:
        return importlib.import_module("segment_anything")
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
