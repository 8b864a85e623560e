"""Promptable 3D medical image segmentation: one frozen model, many experts.

The names below are imported when first asked for (PEP 562), so that `import sam_moe` starts without torch.
From then on `import segment_anything` works also where its torchvision does not
(`sam3d/segment_anything.py`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sam_moe.sam3d import segment_anything as _segment_anything

if TYPE_CHECKING:
    from sam_moe.assemble import load
    from sam_moe.predict.model import Model
    from sam_moe.predict.prediction import Prediction
    from sam_moe.predict.predictor import Predictor
    from sam_moe.prompts.lowering import Lowering
    from sam_moe.prompts.prompt import Box, Loop, Point, Prompt, Stroke
    from sam_moe.space.files import read, write_mask
    from sam_moe.space.grid import Grid
    from sam_moe.space.volume import Volume

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Grid",
    "Loop",
    "Lowering",
    "Model",
    "Point",
    "Prediction",
    "Predictor",
    "Prompt",
    "Stroke",
    "Volume",
    "__version__",
    "load",
    "read",
    "write_mask",
]

_HOMES = {
    "Box": "sam_moe.prompts.prompt",
    "Grid": "sam_moe.space.grid",
    "Loop": "sam_moe.prompts.prompt",
    "Lowering": "sam_moe.prompts.lowering",
    "Model": "sam_moe.predict.model",
    "Point": "sam_moe.prompts.prompt",
    "Prediction": "sam_moe.predict.prediction",
    "Predictor": "sam_moe.predict.predictor",
    "Prompt": "sam_moe.prompts.prompt",
    "Stroke": "sam_moe.prompts.prompt",
    "Volume": "sam_moe.space.volume",
    "load": "sam_moe.assemble",
    "read": "sam_moe.space.files",
    "write_mask": "sam_moe.space.files",
}


_segment_anything.prepare()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"sam_moe has no {name!r}. Public names: {', '.join(__all__)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
