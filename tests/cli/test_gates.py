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


class Interrupted(str):
    """A gate's id at which Ctrl-C is pressed."""

    def __contains__(self, part):
        raise KeyboardInterrupt


def test_an_expert_is_taken_out_again_when_the_fitting_is_interrupted(tmp_path):
    undone = []
    with pytest.raises(KeyboardInterrupt):
        grow(None, Interrupted("moe"), tmp_path, None, lambda: undone.append(True))
    assert undone == [True]


def test_an_expert_whose_gate_is_not_found_is_taken_out_again(tmp_path):
    undone = []
    with pytest.raises(CardError, match="no model with id 'nowhere'"):
        grow(None, "nowhere", tmp_path, None, lambda: undone.append(True))
    assert undone == [True]
