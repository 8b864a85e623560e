"""A prompt file for a challenge holds the prompts of an evaluation, which replays them."""

import subprocess

import pytest

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.asking.protocols import replays_of, scripts_for
from sam_moe.evaluation.asking.simulate import needs_answers, simulate
from sam_moe.prompts import promptset
from tests.evaluation.answerers import Drawn, Growing, drawing, phantoms, run, untimed


def silent(stage, share):
    pass


@pytest.mark.parametrize("protocol", ["clicks", "click,box", "cvpr2025"])
def test_what_is_simulated_and_replayed_gives_the_rows_of_the_protocol(tmp_path, protocol):
    challenge = phantoms(tmp_path / "set", 2)
    scripts = scripts_for(protocol)
    out = tmp_path / "prompts.json"
    promptset.write(simulate(challenge, scripts, out, Growing(), silent), out)
    replayed = run(challenge, tmp_path / "replayed", scripts=replays_of(promptset.read(out)), prompts="a")
    asked = run(challenge, tmp_path / "asked", protocol=protocol)
    assert untimed(replayed.rows) == untimed(asked.rows)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["flat,stroke,loop", "strokes", "loops", "cvpr2025-flat"])
def test_what_is_drawn_is_recorded_and_replayed_to_the_same_rows(tmp_path, protocol):
    challenge = phantoms(tmp_path / "set", 2)
    out = tmp_path / "prompts.json"
    promptset.write(simulate(challenge, scripts_for(protocol), out, Drawn(), silent), out)
    replayed = run(
        challenge, tmp_path / "replayed", drawing, scripts=replays_of(promptset.read(out)), prompts="a"
    )
    asked = run(challenge, tmp_path / "asked", drawing, protocol=protocol)
    assert untimed(replayed.rows) == untimed(asked.rows)
    assert {row.status for row in asked.rows} == {"ok"}
    assert min(row.dice for row in asked.rows) > 0.3


def test_a_system_of_clicks_and_boxes_is_not_asked_by_a_flat_box(tmp_path):
    done = run(phantoms(tmp_path / "set", 1), tmp_path / "out", protocol="flat,click")
    assert {row.prompt for row in done.rows} == {"click1"}
    assert "flat" in done.result.notes[0]


def test_one_click_or_box_needs_nobody_who_answers(tmp_path):
    challenge = phantoms(tmp_path / "set", 1)
    found = simulate(challenge, scripts_for("click,box"), tmp_path / "prompts.json", None, silent)
    assert [target.name for target in found.cases[0].targets] == ["ball · click", "ball · box"]
    assert found.name == "click,box" and found.cases[0].image == "set/images/p0_a.nii.gz"
    assert not needs_answers(scripts_for("click,box")) and needs_answers(scripts_for("clicks"))
    with pytest.raises(ConfigError, match="give --system ID"):
        simulate(challenge, scripts_for("clicks"), tmp_path / "prompts.json", None, silent)


def test_a_case_that_cannot_be_read_is_left_out_with_a_warning_and_the_others_go_on(tmp_path, caplog):
    challenge = phantoms(tmp_path / "set", 2)
    (tmp_path / "set" / "images" / "p0_a.nii.gz").write_bytes(b"\x1f\x8b no scan")
    found = simulate(challenge, scripts_for("click"), tmp_path / "prompts.json", None, silent)
    assert [case.image for case in found.cases] == ["set/images/p1_a.nii.gz"]
    assert "p0_a: left out, it cannot be read" in caplog.text
    (tmp_path / "set" / "images" / "p1_a.nii.gz").write_bytes(b"")
    with pytest.raises(FileError, match="p0_a"):
        simulate(challenge, scripts_for("click"), tmp_path / "prompts.json", None, silent)


def test_a_disk_that_is_read_only_is_noticed_before_anybody_is_asked(tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    asked = Growing()
    with pytest.raises(FileError, match="cannot be written"):
        simulate(phantoms(tmp_path / "set", 1), scripts_for("clicks"), small_disk / "p.json", asked, silent)
    assert asked.asked == 0


def test_a_protocol_without_prompts_has_none_to_write(tmp_path):
    challenge = phantoms(tmp_path / "set", 1)
    with pytest.raises(ConfigError, match="the protocol automatic has no prompts"):
        simulate(challenge, scripts_for("click,automatic"), tmp_path / "p.json", None, silent)
