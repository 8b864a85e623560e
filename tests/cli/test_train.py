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


def test_a_recipe_of_a_paper_reaches_its_training(sam_moe, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("system: m4oe\n")
    missing = sam_moe("train", recipe)
    assert missing.code == 1 and f"{recipe}: run: missing; add it" in missing.err
    recipe.write_text("seed: 1\n")
    assert "expected one of: m4oe" in sam_moe("train", recipe).err


def test_an_expert_that_gained_nothing_ends_with_a_warning_and_without_advice(capsys, tmp_path):
    from sam_moe.cli.train import _ended
    from sam_moe.registry import write_card
    from tests.systems.sam_med3d_moe.test_outcome import expert

    for general, advised in ((0.9, False), (0.1, True)):
        write_card(expert({"score": 0.5}, {"score": general}), tmp_path / "card.json")
        _ended(tmp_path / "model.safetensors", "Use it: so")
        printed = capsys.readouterr()
        assert printed.out.startswith(f"{tmp_path}/model.safetensors\n") and "mean" in printed.out
        assert ("Use it: so" in printed.err) == advised
        assert ("sam-moe: warning: cord is no better" in printed.err) == (not advised)
