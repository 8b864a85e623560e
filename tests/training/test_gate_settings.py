"""A recipe that contradicts itself is refused."""

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.training.gate_settings import GateRecipe


def test_structures_of_several_experts_and_k_without_top_k_are_refused(gate_recipe):
    twice = [{"expert": name, "structures": {"x": ["x"]}} for name in "ab"]
    with pytest.raises(ConfigError, match="structures x have several experts"):
        load_settings(GateRecipe, gate_recipe(experts=twice))
    with pytest.raises(ConfigError, match="'k' is for selection 'top_k' alone"):
        load_settings(GateRecipe, gate_recipe(k=2))
