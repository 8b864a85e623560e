"""A card names the machines that trained, not the one that shipped."""

import json

from sam_moe.training.engine.machines import hardware, machines, note_machine, processes


def rows(folder, *steps):
    (folder / "log.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in steps))


def test_the_hardware_is_named_with_its_number_of_processes():
    assert hardware(2).startswith("2 x ") and len(hardware(2)) > 6


def test_a_machine_is_noted_once_after_those_before_it(tmp_path):
    assert machines(tmp_path) == []
    (tmp_path / "machines.json").write_text('["1 x abacus"]')
    rows(tmp_path, 1, 2)
    note_machine(tmp_path, 10)
    note_machine(tmp_path, 10)
    assert machines(tmp_path) == ["1 x abacus", hardware(1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "machines.json"]


def test_a_machine_with_nothing_left_to_train_is_not_noted(tmp_path):
    rows(tmp_path, 5, 10)
    note_machine(tmp_path, 10)
    assert machines(tmp_path) == []


def test_processes_that_train_together_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    note_machine(tmp_path, 10)
    assert machines(tmp_path) == [hardware(4)]


def test_a_process_that_was_started_alone_waits_for_none():
    alone = processes()
    assert alone.is_main_process and alone.num_processes == 1
    with alone.main_process_first():
        assert processes().device == alone.device
