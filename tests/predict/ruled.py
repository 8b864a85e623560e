"""A mixture that selects its experts by another rule."""

from dataclasses import replace

from sam_moe.moe.selection import SelectionRule
from sam_moe.predict.model import Model


def choosing(mixture: Model, rule: SelectionRule) -> Model:
    """The same mixture, weights and cache shared, under another selection rule."""
    module = mixture.network.module.choosing(rule)
    return replace(mixture, network=replace(mixture.network, module=module))
