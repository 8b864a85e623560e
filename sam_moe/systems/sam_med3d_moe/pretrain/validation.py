"""How good a general model is on regions of scans that it never learnt from."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import default_collate

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.prompted.measuring import BATCH, measure
from sam_moe.systems.sam_med3d_moe.prompted.regions import Regions
from sam_moe.training.scans.cache import Scan

# All general models are measured on the same regions.
SEED = 7


class ModelValidation:
    """Mean Dice of a model's weights on fixed regions, with the same prompts every time.

    Args:
        read: gives the scans; called when the first figures are wanted.
        stream: makes the stream of regions out of them.
        count: regions, the first ones of the stream.
        sizes: of the model.
        box_strategy: how its card lowers a box by default.
    """

    def __init__(
        self,
        read: Callable[[], list[Scan]],
        stream: Callable[[Sequence[Scan]], Regions],
        count: int,
        sizes: Sizes,
        box_strategy: BoxStrategy = "mask",
    ) -> None:
        self.read, self.stream, self.count, self.sizes = read, stream, count, sizes
        self.box_strategy: BoxStrategy = box_strategy
        self.batch: dict[str, Tensor] | None = None

    @torch.no_grad()
    def __call__(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Measure on the device that the weights lie on.

        Raises:
            ConfigError: without a scan to measure on.
        """
        device = next(iter(weights.values())).device
        model = SamMed3D(self.sizes)
        model.load_state_dict(weights)
        model.to(device).eval()
        image, target = (part.split(BATCH) for part in self._regions())
        pairs = zip(image, target, strict=True)
        batches = ((model.encode(i.to(device)), t.to(device)) for i, t in pairs)
        return measure(model, batches, self.box_strategy)

    def _regions(self) -> tuple[Tensor, Tensor]:
        if self.batch is None:
            scans = self.read()
            if not scans:
                raise ConfigError(
                    "the validation part holds no structure to measure on. Name cases in the splits file, or "
                    "set validation_crops to 0."
                )
            stream = self.stream(scans)
            self.batch = default_collate([stream[number] for number in range(self.count)])
        return self.batch["image"], self.batch["target"]
