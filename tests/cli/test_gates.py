"""An expert and a gate that learns to choose it come together, or neither does."""

import pytest
from typer.testing import CliRunner

from sam_moe.cli.app import app
from sam_moe.cli.gates import grow
from sam_moe.errors import CardError

runner = CliRunner()


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
