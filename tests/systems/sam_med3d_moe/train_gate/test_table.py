"""A table is kept whole, and its Dice counts shares of voxels."""

from dataclasses import replace

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.train_gate.table import load_table, low_dice, save_table
from tests.systems.sam_med3d_moe.train_gate.tables import by_hand

NAN = float("nan")


def test_dice_counts_each_low_voxel_by_the_share_that_is_target():
    """Target shares 1, 0.5, 0, 0 (1.5 in all); the answer takes the first two: 2 * 1.5 / (2 + 1.5)."""
    soft = torch.tensor([1.0, 0.5, 0, 0, 0, 0, 0, 0]).view(1, 2, 2, 2)
    answer = torch.tensor([1.0, 1, -1, -1, -1, -1, -1, -1]).view(1, 1, 2, 2, 2)
    none, silent = -torch.ones_like(answer), torch.full_like(answer, NAN)
    dice = low_dice(torch.cat([answer, none, silent], dim=1), soft)
    assert dice[0, :2].tolist() == pytest.approx([3 / 3.5, 0.0])
    assert dice[0, 2].isnan()
    assert low_dice(none, torch.zeros_like(soft)).item() == 1.0


def test_a_table_comes_back_as_it_was_for_its_origin_alone(tmp_path):
    table = by_hand([0, 1, 1], [[0.5, 0.2], [0.2, float("nan")], [0.1, 0.9]], None, ("liver", "cord"))
    table = replace(
        table,
        turn=table.turn + 1,
        answers=torch.rand(3, 2, 4, 4, 4).half(),
        targets=torch.rand(3, 4, 4, 4).half(),
    )
    path = tmp_path / "table.safetensors"
    assert load_table(path) is None
    save_table(table, path, "here")
    again = load_table(path, "here")
    assert again.names == table.names
    for name, tensor in table._tensors().items():
        there = getattr(again.seen if name in table.seen._fields else again, name)
        assert torch.equal(there.nan_to_num(-1), tensor.nan_to_num(-1))
    assert load_table(path, "elsewhere") is None
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="not readable as a gate's table"):
        load_table(path, "here")


def test_rows_are_taken_by_number_and_by_mask():
    table = by_hand([0, 1, 0], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    assert table.rows(torch.tensor([2, 0])).scores[:, 0].tolist() == pytest.approx([0.5, 0.1])
    one = table.rows(table.owner == 1)
    assert (len(one), one.names, one.answers) == (1, table.names, None)
    assert torch.equal(one.seen.prompt, table.seen.prompt[[1]])
