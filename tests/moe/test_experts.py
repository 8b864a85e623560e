"""An expert's id may be any of a card; in a module's state it is one name, of which no other begins alike."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.experts import ExpertDict, key_of
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.site import MoESite
from sam_moe.moe.system import Phase
from tests.systems.toys import WIDTH, ffn, gate_of, seeded

CARD_IDS = st.from_regex("[a-z0-9][a-z0-9._-]*", fullmatch=True)
ODD = ("general", "liver", "liver.v2", "liver.", "items", "items.", "training", "v2.liver")


def test_experts_of_a_site_are_found_by_ids_with_dots_and_by_names_of_methods():
    experts = {id: seeded(n, ffn) for n, id in enumerate(ODD)}
    site = MoESite(experts, gate_of("linear", len(ODD), 0), Forced(2))
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y, routing = site(x)
        torch.testing.assert_close(y, experts["liver.v2"](x))
    assert routing.answered == ({"liver.v2": 1.0},) * 3
    site.add("liver.v3", ffn())
    assert site.ids == (*ODD, "liver.v3")


def test_it_is_a_dictionary_by_id():
    experts = {id: seeded(n, ffn) for n, id in enumerate(ODD)}
    found = ExpertDict(experts)
    assert list(found) == list(found.keys()) == list(ODD) and len(found) == len(ODD)
    assert dict(found.items()) == experts and list(found.values()) == list(experts.values())
    assert "liver.v2" in found and "liver:v2" not in found and "items=" not in found
    found.update({"liver.v2": experts["liver"]})
    assert found["liver.v2"] is experts["liver"]
    del found["items"]
    assert "items" not in found and "items." in found
    again = copy.deepcopy(found)
    assert list(again) == list(found) and again.state_dict().keys() == found.state_dict().keys()


def test_a_phase_of_one_expert_names_nothing_of_another_whose_id_begins_alike():
    experts = {id: nn.Linear(WIDTH, WIDTH) for id in ODD}
    site = MoESite(experts, gate_of("linear", len(ODD), 0), Forced(1))
    tensors = dict(site.named_parameters())
    for id in ODD:
        names = Phase(f"finetune {id}", (f"experts.{key_of(id)}.*",)).names(tensors)
        assert [tensors[name] is p for name, p in zip(names, experts[id].parameters(), strict=True)] == [
            True
        ] * 2


@given(st.lists(CARD_IDS, unique=True, max_size=6))
def test_every_id_of_a_card_has_a_name_of_its_own(ids):
    assert list(ExpertDict({id: nn.Identity() for id in ids})) == ids
    assert len({key_of(id) for id in ids}) == len(ids) and not any("." in key_of(id) for id in ids)


@pytest.mark.parametrize("id", ["", "liver:v2", "items="])
def test_an_id_that_has_no_name_is_refused(id):
    with pytest.raises(ConfigError, match="an id is not empty and holds no"):
        key_of(id)
