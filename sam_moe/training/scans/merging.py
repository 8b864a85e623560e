"""Several labels as one structure: what a recipe's `structures` mean, in files and in cached scans alike."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sam_moe.errors import ConfigError


def merged_labels(
    labels: Tensor, structures: Mapping[int, str], group: str, own: Mapping[str, Sequence[str]]
) -> tuple[Tensor, dict[int, str]]:
    """Labels in which each structure of `own` has one value, the first of its labels', and their names.

    A label is named as it is, or with the set, `group`, as 'set/name'. Other labels stay in the map, unnamed.
    The structures come in the order of `own`; the map that was handed in is not changed.

    Raises:
        ConfigError: for a label that is given to two structures.
    """
    found: dict[int, str] = {}
    takers: dict[int, str] = {}
    for name, parts in own.items():
        values = [v for v, label in structures.items() if {label, f"{group}/{label}"} & set(parts)]
        if twice := [v for v in values if v in takers]:
            raise ConfigError(
                f"the label {structures[twice[0]]} of the set {group} is given to {takers[twice[0]]} and to "
                f"{name}. A voxel has one label: leave it with one of them."
            )
        takers |= dict.fromkeys(values, name)
        if len(values) > 1:
            labels = labels.masked_fill(
                torch.isin(labels, torch.tensor(values, dtype=labels.dtype)), values[0]
            )
        if values:
            found[values[0]] = name
    return labels, found
