"""An expert grows from its base or another expert, and a run from no other than it was begun with."""

import json

import pytest
import torch

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_base
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.systems.sam_med3d_moe.finetune.start import BEGUN, learner_of, note_start


@pytest.fixture
def base(backbone):
    return load_base(str(backbone))


def test_without_a_start_the_bases_own_decoder_is_copied(task, base):
    learner = learner_of(load_settings(FinetuneRecipe, task()), base, None)
    own = base.model.mask_decoder
    assert learner is not own
    assert all(torch.equal(t, own.state_dict()[name]) for name, t in learner.state_dict().items())
    assert any(p.requires_grad for p in learner.parameters())


def test_a_folder_without_checkpoints_takes_any_start(tmp_path):
    note_start(tmp_path, "1" * 64, None)
    note_start(tmp_path, "2" * 64, None)
    assert json.loads((tmp_path / BEGUN).read_text()) == {"base": "2" * 64, "start": None}


def test_a_run_goes_on_from_no_other_base(tmp_path):
    note_start(tmp_path, "1" * 64, None)
    (tmp_path / "checkpoint").mkdir()
    note_start(tmp_path, "1" * 64, None)
    with pytest.raises(
        ConfigError, match=f"general model with the fingerprint {'1' * 64}, and it now has {'2' * 64}"
    ):
        note_start(tmp_path, "2" * 64, None)
    assert json.loads((tmp_path / BEGUN).read_text())["base"] == "1" * 64
