"""What is shown of experts is what their cards say."""

from pathlib import Path

import pytest

from sam_moe.cli.models.expert_pages import as_json, mixture, page, table
from sam_moe.registry import Entry, ExpertCard
from sam_moe.registry.finding import DEFAULT_MODEL

pytestmark = pytest.mark.usefixtures("cards")


def entry(**changes):
    fields = {
        "id": "cord",
        "expert_kind": "lora",
        "title": "Spinal cord",
        "base": {"id": DEFAULT_MODEL, "sha256": "a" * 64},
        "lora": {"rank": 4, "alpha": 8.0, "per_layer": {"output_upscaling.0": 2}},
        "covers": [{"structure": "spinal cord", "modality": "CT"}, {"structure": "canal", "modality": "MR"}],
        "weights": {"file": "x", "sha256": "b" * 64, "size_bytes": 1_250_000, "dtype": "float16"},
        "licence": "CC-BY-SA-4.0",
        "attribution": [{"source": "A set", "licence": "CC-BY-4.0"}],
        "made_by": {"command": "sam-moe finetune cord.yaml", "data": ["a set"]},
        "measured": [{"metric": "Dice", "value": 0.75, "data": "the kept-aside cases", "cases": 4}],
        "not_for": "Clinical use.",
    } | changes
    return Entry(ExpertCard.model_validate(fields), Path("cord/card.json"))


def test_a_page_holds_ranks_data_licences_and_figures():
    lines = page(entry()).splitlines()
    assert "ranks          rank 4, alpha 8.0, per_layer {'output_upscaling.0': 2}" in lines
    assert "covers         spinal cord (CT), canal (MR)" in lines
    assert "weights        1.2 MB, float16" in lines
    assert "data           a set" in lines
    assert "after          A set (CC-BY-4.0)." in lines
    assert "measured       Dice 0.75 on the kept-aside cases, 4 cases" in lines


def test_the_mixture_is_as_strict_as_its_parts_and_its_base():
    assert mixture([entry()]) == "CC-BY-SA-4.0"
    assert mixture([entry(), entry(licence="CC-BY-NC-4.0")]) == "CC-BY-SA-4.0 AND CC-BY-NC-4.0"


def test_a_base_that_is_not_here_is_named_where_its_licence_counts():
    stranger = entry(base={"id": "elsewhere", "sha256": "a" * 64})
    assert mixture([stranger]) == "CC-BY-SA-4.0, and that of elsewhere, which is not here"


def test_without_experts_no_licence_is_listed():
    assert table([]).split() == ["ID", "KIND", "BASE", "SIZE", "LICENCE", "COVERS"]
    assert as_json([]) == {"experts": [], "mixture_licence": None, "offered": []}
