"""Promptable 3D medical image segmentation: one frozen model, many experts.

The names below are imported when first asked for (PEP 562), so that `import sam_moe` starts without torch and
changes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sam_moe.version import __version__

if TYPE_CHECKING:
    from sam_moe.assemble.load import load, load_automatic
    from sam_moe.errors import SamMoeError
    from sam_moe.predict.automatic.model import AutomaticModel, AutomaticSession
    from sam_moe.predict.automatic.result import Segmentation
    from sam_moe.predict.model import Model
    from sam_moe.predict.prediction import LabelMap, Prediction
    from sam_moe.predict.predictor import Predictor
    from sam_moe.prompts.lowering import Lowering
    from sam_moe.prompts.prompt import Box, Loop, Point, Prompt, Stroke
    from sam_moe.space.files import read, write_mask, write_volume
    from sam_moe.space.grid import Grid
    from sam_moe.space.volume import Volume, resample

__all__ = [
    "AutomaticModel",
    "AutomaticSession",
    "Box",
    "Grid",
    "LabelMap",
    "Loop",
    "Lowering",
    "Model",
    "Point",
    "Prediction",
    "Predictor",
    "Prompt",
    "SamMoeError",
    "Segmentation",
    "Stroke",
    "Volume",
    "__version__",
    "load",
    "load_automatic",
    "read",
    "resample",
    "write_mask",
    "write_volume",
]

_HOMES = {
    "AutomaticModel": "sam_moe.predict.automatic.model",
    "AutomaticSession": "sam_moe.predict.automatic.model",
    "Box": "sam_moe.prompts.prompt",
    "Grid": "sam_moe.space.grid",
    "LabelMap": "sam_moe.predict.prediction",
    "Loop": "sam_moe.prompts.prompt",
    "Lowering": "sam_moe.prompts.lowering",
    "Model": "sam_moe.predict.model",
    "Point": "sam_moe.prompts.prompt",
    "Prediction": "sam_moe.predict.prediction",
    "Predictor": "sam_moe.predict.predictor",
    "Prompt": "sam_moe.prompts.prompt",
    "SamMoeError": "sam_moe.errors",
    "Segmentation": "sam_moe.predict.automatic.result",
    "Stroke": "sam_moe.prompts.prompt",
    "Volume": "sam_moe.space.volume",
    "load": "sam_moe.assemble.load",
    "load_automatic": "sam_moe.assemble.load",
    "read": "sam_moe.space.files",
    "resample": "sam_moe.space.volume",
    "write_mask": "sam_moe.space.files",
    "write_volume": "sam_moe.space.files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"sam_moe has no {name!r}. Public names: {', '.join(__all__)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
