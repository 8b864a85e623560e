"""The plain way of the speed table: what SAM-Med3D's public script does, by the same libraries.

For every label anew: read, resample scan and label to 1.5 mm, bring both to RAS, crop or pad to 128^3 around
the label, standardise, encode with the padded attention, decode each click by segment-anything's blocks,
bring the mask back by nearest neighbour through the whole scan, write. Our own weights stand in its network,
so that both sides compute with the same numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import torch
import torchio
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.encoder import PlainDecoder
from sam_moe.hosts.sam3d.model import SamMed3D

Click = tuple[float, float, float]

# Their signatures have no types.
sitk: Any = SimpleITK
tio: Any = torchio


class PublicScript:
    """One label of one scan; `clicks_mm` are in RAS+ millimetres, the first is the label's middle."""

    def __init__(self, model: SamMed3D) -> None:
        self.model, self.decoder = model, PlainDecoder(model.mask_decoder)
        self.size = model.sizes.image_size

    def whole_case(self, scan: Path, out: Path, clicks_mm: Sequence[Click]) -> None:
        """From a file to a file."""
        image = tio.ScalarImage(scan)
        region = self.prepare(image, clicks_mm[0])
        embedding = self.encode(region.image.data[None])
        mask = self.answer(embedding, region, clicks_mm)
        sitk.WriteImage(self.restore(mask, region.image.affine, image), str(out))

    def prepare(self, image: Any, middle_mm: Click) -> Any:
        """Scan and label cut to the region around the label."""
        label = torch.zeros(image.spatial_shape, dtype=torch.uint8)
        at = np.linalg.inv(image.affine) @ [*middle_mm, 1]
        i, j, k = (round(float(x)) for x in at[:3])
        label[i - 3 : i + 4, j - 3 : j + 4, k - 3 : k + 4] = 1
        subject = tio.Subject(image=image, label=tio.LabelMap(tensor=label[None], affine=image.affine))
        chain = tio.Compose(
            [
                tio.Resample(1.5),
                tio.ToCanonical(),
                tio.CropOrPad((self.size,) * 3, mask_name="label"),
                tio.ZNormalization(masking_method=lambda x: x > 0),
            ]
        )
        return chain(subject)

    @torch.inference_mode()
    def encode(self, region: Tensor) -> Tensor:
        """With all pad tokens in all windows."""
        embedding: Tensor = self.model.image_encoder(region.float(), plain=True)
        return embedding

    @torch.inference_mode()
    def answer(self, embedding: Tensor, region: Any, clicks_mm: Sequence[Click]) -> np.ndarray:
        """Each click with all before it and the last logits; every answer brought to the region's voxels."""
        inverse, low = np.linalg.inv(region.image.affine), self.model.sizes.low_res
        logits = torch.zeros(1, 1, low, low, low)
        index = np.array([(inverse @ [*click, 1])[:3] for click in clicks_mm])
        at = torch.from_numpy(index).float()
        for count in range(1, len(clicks_mm) + 1):
            logits = self.decode(embedding, at[None, :count], logits)
            mask = self.upsample(logits) > 0
        return np.asarray(mask[0, 0].numpy().astype(np.uint8))

    def decode(self, embedding: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """One click."""
        labels = torch.ones(points.shape[:2], dtype=torch.long)
        tokens = self.model.encode_prompt(points, labels, None, logits)
        return self.decoder(embedding, self.model.prompt_encoder.dense_map(), tokens.sparse, tokens.dense)

    def upsample(self, logits: Tensor) -> Tensor:
        """Logits at the region's voxels."""
        return F.interpolate(logits, size=(self.size,) * 3, mode="trilinear")

    def restore(self, mask: np.ndarray, affine: np.ndarray, onto: Any) -> Any:
        """The mask on the scan's own grid, by nearest neighbour through all of it, as SimpleITK writes it."""
        moving, fixed = as_sitk(mask, affine), as_sitk(None, onto.affine, onto.spatial_shape)
        return sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def restored_everywhere(probability: np.ndarray, affine: np.ndarray, onto: Any) -> np.ndarray:
    """A probability interpolated at every voxel of a scan, then thresholded."""
    moving, fixed = as_sitk(probability, affine), as_sitk(None, onto.affine, onto.shape)
    found = sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(found).transpose(2, 1, 0) > 0.5)


def as_sitk(array: np.ndarray | None, affine: np.ndarray, shape: Sequence[int] = ()) -> Any:
    """An image of SimpleITK (LPS) from numbers and a RAS+ affine; without numbers its grid alone."""
    if array is None:
        image = sitk.Image([int(n) for n in shape], sitk.sitkUInt8)
    else:
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image
