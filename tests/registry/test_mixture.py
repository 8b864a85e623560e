"""What a gate chooses among is found by its card, and is what the card says."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import read_entry
from sam_moe.registry.finding import find_backbone, find_gate
from sam_moe.registry.mixture import base_of, find_parts
from sam_moe.weights.checksums import fingerprint_of
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate

pytestmark = pytest.mark.usefixtures("cache")


def test_the_shipped_gate_chooses_among_the_shipped_experts():
    parts = find_parts(find_gate("small-moe"), fingerprint_of)
    assert parts.base.card.id == "small"
    ids = [entry.card.id for entry in parts.experts]
    assert ids == [ref.id for ref in parts.gate.card.experts[1:]]
    assert set(ids) == {"esophagus", "spinal-cord", "hippocampus", "soft-tissue-tumour"}
    assert all(base_of(entry, fingerprint_of) == parts.base for entry in parts.experts)


def test_the_strictest_licence_of_the_parts_is_that_of_all(tmp_path):
    base = find_backbone("tiny")
    free = write_expert(tmp_path, "free", base)
    gate = write_gate(tmp_path, "moe", base, [free])
    parts = find_parts(gate, fingerprint_of)
    assert parts.licence == base.card.licence == "CC-BY-SA-4.0"
    assert parts.gate.card.licence != parts.licence


def test_experts_are_looked_for_beside_their_gate_and_must_be_those_that_it_knows(tmp_path):
    base = find_backbone("tiny")
    expert = write_expert(tmp_path, "cord", base)
    gate = write_gate(tmp_path, "moe", base, [expert])
    assert [entry.path for entry in find_parts(gate, fingerprint_of).experts] == [expert.path]
    text = gate.path.read_text().replace(expert.card.weights.sha256, "0" * 64)
    gate.path.write_text(text)
    with pytest.raises(CardError, match="experts: cord"):
        find_parts(read_entry(gate.path), fingerprint_of)
