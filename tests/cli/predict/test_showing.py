"""What a person is shown, and what a machine."""

import json
from pathlib import Path

import pytest

from sam_moe.cli.predict.showing import Showing, show
from sam_moe.predict.files.automatic import AutomaticRequest, LoadedAutomaticModel
from sam_moe.predict.files.command import run
from sam_moe.progress import silent
from sam_moe.space.files import write_volume
from sam_moe.space.grid import Grid
from tests.predict.automatic.bands import Bands, model_of, painted


@pytest.fixture
def done(tmp_path):
    scan = tmp_path / "scan.nii.gz"
    write_volume(scan, painted(Grid.around((0, 0, 0), (20, 18, 12), (4, 4, 6))))
    loaded = LoadedAutomaticModel(model_of(Bands()), "a" * 64)
    return run(AutomaticRequest(scan, tmp_path / "l.nii.gz"), lambda: loaded, silent)


def test_a_person_reads_the_answer_and_where_it_lies_on_stderr(done, capsys):
    show(done, Showing())
    shown = capsys.readouterr()
    assert shown.out == f"{done}\n"
    assert shown.err.splitlines() == [f"{what}: {path}" for what, path in done.files.items()]


def test_with_explain_the_reasons_follow(done, capsys):
    show(done, Showing(explain=True))
    assert capsys.readouterr().out == f"{done}\n{done.answer.explain()}\n"


def test_a_machine_reads_one_object_and_nothing_else(done, capsys):
    show(done, Showing(as_json=True, explain=True))
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads(json.dumps(done.as_json())) and shown.err == ""


def test_nothing_is_drawn_unless_a_picture_is_named():
    assert Showing().overlay is None and Showing(overlay=Path("p.png")).overlay == Path("p.png")
