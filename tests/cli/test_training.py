"""The verbs that train: recipe and overrides reach the training, and the help comes without torch."""

import pytest


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "train-gate"])
def test_a_recipe_and_its_overrides_reach_the_training(sam_moe, tmp_path, verb):
    (tmp_path / "recipe.yaml").write_text("{}\n")
    missing = sam_moe(verb, tmp_path / "recipe.yaml")
    assert missing.code == 1
    assert missing.err.startswith(f"sam-moe: {tmp_path}/recipe.yaml: ")
    assert "recipe.yaml: run: missing; add it" in missing.err
    unread = sam_moe(verb, tmp_path / "recipe.yaml", "--set", "seed")
    assert unread.code == 1
    assert unread.err.startswith("sam-moe: --set seed: expected KEY=VALUE")
