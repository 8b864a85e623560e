"""The regions of an expert's recipe: scans read, cut and encoded once, kept in the run's folder."""

import json
import logging

from sam_moe.errors import ConfigError
from sam_moe.progress import Progress
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase
from sam_moe.systems.sam_med3d_moe.finetune.embedded import embedded_path, keep_embedded
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.systems.sam_med3d_moe.pretrain.validation import SEED
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Mix, Regions
from sam_moe.training.recipes.scans import keep_scans, learnt_ranges
from sam_moe.training.scans.cache import cache_path, cached_labels, cached_sets, read_cache

log = logging.getLogger(__name__)


def keep_recipe_scans(recipe: FinetuneRecipe, part: str, progress: Progress) -> str:
    """Keep the scans of one part, and check that all that is to be learnt is in them; what they came from.

    Raises:
        ConfigError: for a structure without a voxel in the train part, or a part without any.
    """
    data, learning = recipe.data, part == "train"
    progress(f"reading the {part} part", 0.0)
    origin = keep_scans(data, part, recipe.run, learn=data.structures)
    met = cached_labels(cache_path(recipe.run, part))
    missing = [name for name in data.structures if name not in met]
    if not met or (learning and missing):
        raise ConfigError(
            f"the {part} part of {data.splits} holds no voxel of {', '.join(missing)}. Look at the names "
            f"in data.structures and at the labels in the dataset.json of the sets in {data.folder}"
            + ("." if learning else ", or set validation_regions to 0.")
        )
    if unknown := sorted(set(data.weights) - set(cached_sets(cache_path(recipe.run, part)))):
        level = logging.WARNING if learning else logging.INFO
        log.log(level, "data.weights names sets without a case in the %s part: %s", part, ", ".join(unknown))
    return origin


def embed_part(
    recipe: FinetuneRecipe, part: str, scans_origin: str, base: LoadedBase, progress: Progress
) -> None:
    """Keep embedded regions of one part; the validation's are never spoiled, nor phantoms."""
    data, learning, preprocessing = recipe.data, part == "train", base.entry.card.preprocessing
    seed = recipe.seed + 1 if learning else SEED
    phantoms, spoiled = (data.phantom_share, data.spoil_share) if learning else (0.0, 0.0)
    origin = json.dumps(
        {
            "base": base.sha256,
            "preprocessing": preprocessing.model_dump(),
            "scans": json.loads(scans_origin),
            "seed": seed,
            "weights": data.weights,
            "phantom_share": phantoms,
            "spoil_share": spoiled,
        }
    )

    def regions() -> Regions:
        return Regions(
            read_cache(cache_path(recipe.run, part)),
            Cut(base.model.sizes.image_size, learnt_ranges(preprocessing)),
            seed,
            Mix(data.weights, phantoms),
            Appearance(spoiled, preprocessing.normalisation),
        )

    count = recipe.regions if learning else recipe.validation_regions
    keep_embedded(regions, count, base.model, embedded_path(recipe.run, part), origin, progress)
