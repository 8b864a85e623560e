"""Progress is one kind of callback: what takes it calls it with a stage and a share."""

import inspect

import pytest

from sam_moe.progress import silent


def test_silent_takes_what_progress_is_given_and_shows_nothing(capsys):
    assert silent("segmenting", 0.5) is None
    assert capsys.readouterr() == ("", "")


def test_a_stage_without_its_share_is_no_progress():
    with pytest.raises(TypeError):
        inspect.signature(silent).bind("segmenting")
