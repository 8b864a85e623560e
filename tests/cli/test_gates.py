"""The verbs about gates answer what is asked wrongly before anything heavy is imported."""

import pytest
from typer.testing import CliRunner

from sam_moe.cli.app import app
from sam_moe.cli.gates import grow
from sam_moe.errors import CardError

runner = CliRunner()


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    result = runner.invoke(app, ["train-gate", str(tmp_path / "no.yaml")])
    assert result.exit_code != 0
    assert "no.yaml: no such file" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--gate", "moe"], "--gate and --examples go together"),
        (["--examples", "cases"], "--gate and --examples go together"),
        (["--to", "mine"], "--to names a new gate"),
    ],
)
def test_a_gate_without_examples_is_asked_wrongly(options, complaint):
    result = runner.invoke(app, ["experts", "add", "x.pth", *options])
    assert result.exit_code != 0
    assert complaint in result.output + str(result.exception)


def test_an_expert_whose_gate_is_not_found_is_taken_out_again(tmp_path):
    undone = []
    with pytest.raises(CardError, match="no gate with id 'nowhere'"):
        grow(None, "nowhere", tmp_path, None, lambda: undone.append(True))
    assert undone == [True]
