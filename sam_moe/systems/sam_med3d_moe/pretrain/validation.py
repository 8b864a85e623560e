"""How good a general model is on regions it never learnt from, for each way to prompt and each correction."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.data import default_collate

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.normalise import Normalisation
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Conversation, dice_of, taught_strategies
from sam_moe.systems.sam_med3d_moe.prompted.regions import Regions
from sam_moe.training.scans.cache import Scan
from sam_moe.training.scans.crops import CropRanges

ROUNDS = 3
BATCH = 8


class Validation:
    """Mean Dice of given weights on fixed regions, always the same and always asked the same.

    Scans are read when the first figures are wanted.
    """

    def __init__(
        self,
        read: Callable[[], list[Scan]],
        sizes: Sizes,
        regions: int,
        normalisation: Normalisation = "mean",
        box_strategy: BoxStrategy = "mask",
        ranges: CropRanges | None = None,
    ) -> None:
        self.ranges = ranges
        self.box_strategy: BoxStrategy = box_strategy
        self.read, self.sizes, self.regions, self.normalisation = read, sizes, regions, normalisation
        self.batch: dict[str, Tensor] | None = None

    @torch.no_grad()
    def __call__(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Measure on the device that the weights lie on."""
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
            stream = Regions(
                scans,
                self.sizes.image_size,
                7,
                self.regions,
                {},
                0.0,
                ranges=self.ranges,
                spoil_share=0.0,
                normalisation=self.normalisation,
            )
            self.batch = default_collate([stream[number] for number in range(self.regions)])
        return self.batch["image"], self.batch["target"]


@torch.no_grad()
def measure(
    model: SamMed3D, batches: Iterable[tuple[Tensor, Tensor]], box_strategy: BoxStrategy = "mask"
) -> dict[str, float]:
    """Mean Dice over batches of `BATCH` embeddings and targets, always asked the same, each way and round.

    Asked by a click, and by a box in each way that `taught_strategies` names. Figures are named by way and
    number of prompts, `click1` to `mask3`; `score` is their mean (ours).
    """
    boxes = taught_strategies(box_strategy, model.sizes.corner_embeddings)
    ways = ("click", *boxes)
    scores = []
    for number, (embedding, target) in enumerate(batches):
        every, rng = torch.arange(len(target)), torch.Generator().manual_seed(number * BATCH)
        talk = Conversation(model, embedding, target, rng, dict.fromkeys(boxes, every), 0.03)
        found = []
        for turn in range(ROUNDS):
            answer = talk.ask()
            found.append(dice_of(talk.whole(answer), talk.wanted))
            if turn + 1 < ROUNDS:
                talk.correct(answer)
        scores.append(torch.stack(found).view(ROUNDS, len(ways), -1).cpu())
    mean = torch.cat(scores, dim=2).mean(dim=2)
    figures = {
        f"{way}{turn + 1}": round(float(mean[turn, column]), 4)
        for turn in range(ROUNDS)
        for column, way in enumerate(ways)
    }
    return {**figures, "score": round(float(mean.mean()), 4)}
