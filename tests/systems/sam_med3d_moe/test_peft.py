"""An adapter of PEFT is the expert that PEFT's own merge makes of it; all else is refused in words."""

import json

import pytest
import torch

from sam_moe.errors import CardError, WeightsError
from sam_moe.systems.sam_med3d_moe.cards.experts import add_expert, check_expert, load_decoder
from sam_moe.systems.sam_med3d_moe.peft import adapter_folder, read_adapter
from sam_moe.weights.files import save_weights

pytestmark = pytest.mark.usefixtures("cache")

LAYER = "transformer.layers.0.self_attn.q_proj"
OTHER = "transformer.layers.1.mlp.lin2"
WHOLE = "base_model.model.mask_decoder."
# What peft 0.21 writes of a plain configuration.
PLAIN = {
    "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None,
    "auto_mapping": {"base_model_class": "SamMed3D", "parent_library": "somewhere"},
    "base_model_name_or_path": None, "bias": "none", "corda_config": None, "ensure_weight_tying": False,
    "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True,
    "init_lora_weights": True, "layer_replication": None, "layers_pattern": None,
    "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 6, "lora_bias": False,
    "lora_dropout": 0.1, "megatron_config": None, "megatron_core": "megatron.core",
    "modules_to_save": None, "peft_type": "LORA", "peft_version": "0.21.2", "qalora_group_size": 16,
    "r": 2, "rank_pattern": {}, "revision": None, "target_modules": ["q_proj"],
    "target_parameters": None, "task_type": None, "trainable_token_indices": None, "use_dora": False,
    "use_qalora": False, "use_rslora": False,
}  # fmt: skip


def halves(tiny, layer, rank):
    """Deltas of which two numbers are not 0: (row 3, column 0) is 5, (row 4, column 1) is 2 * 7."""
    rows, columns = tiny.mask_decoder.get_submodule(layer).weight.shape
    a, b = torch.zeros(rank, columns), torch.zeros(rows, rank)
    a[0, 0], a[1, 1], b[3, 0], b[4, 1] = 1, 2, 5, 7
    return a, b


@pytest.fixture
def adapter(tmp_path, tiny):
    """Writes the folder of an adapter: `adapter(layers={name: rank}, prefix=…, **options)`."""

    def write(layers=None, prefix=WHOLE, more=None, **options):
        folder = tmp_path / "adapter"
        folder.mkdir(exist_ok=True)
        state = {}
        for layer, rank in (layers or {LAYER: 2}).items():
            a, b = halves(tiny, layer, rank)
            state |= {f"{prefix}{layer}.lora_A.weight": a, f"{prefix}{layer}.lora_B.weight": b}
        save_weights({**state, **(more or {})}, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **options}))
        return folder

    return write


def assert_adds(entry, tiny, scales):
    """The expert's weights are the base's, but for 5 and 14 times the scale in each layer."""
    found = load_decoder(entry, tiny).state_dict()
    for name, tensor in tiny.mask_decoder.state_dict().items():
        expected = tensor.clone()
        if (scale := scales.get(name.removesuffix(".weight"))) is not None:
            expected[3, 0] += 5 * scale
            expected[4, 1] += 14 * scale
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("layers", "options", "scales"),
    [
        ({LAYER: 2}, {}, {LAYER: 3.0}),  # 6 / 2
        ({LAYER: 4}, {"r": 4, "use_rslora": True}, {LAYER: 3.0}),  # 6 / root of 4
        ({LAYER: 2, OTHER: 4}, {"rank_pattern": {"lin2": 4}}, {LAYER: 3.0, OTHER: 1.5}),
        ({LAYER: 2, OTHER: 2}, {"alpha_pattern": {r".*\.mlp\.lin2": 8}}, {LAYER: 3.0, OTHER: 4.0}),
        ({LAYER: 2, OTHER: 2}, {"alpha_pattern": {"n2": 8, "q_proj": 4}}, {LAYER: 2.0, OTHER: 3.0}),
        (
            {LAYER: 4, OTHER: 9},
            {"r": 4, "rank_pattern": {"layers.1.mlp.lin2": 9}, "use_rslora": True},
            {LAYER: 3.0, OTHER: 2.0},  # 6 / root of 9
        ),
    ],
    ids=["plain", "rslora", "a rank of its own", "an alpha of its own", "ends of words", "rslora and ranks"],
)
def test_what_an_adapter_adds_is_alpha_over_rank_times_b_times_a(
    adapter, draft, tiny, layers, options, scales
):
    entry = add_expert(adapter(layers, **options), draft(), base=tiny)
    assert entry.card.expert_kind == "lora" and check_expert(entry, tiny).numbers > 0
    assert_adds(entry, tiny, scales)


@pytest.mark.parametrize(
    "prefix", [WHOLE, "base_model.model.", "", "base_model.model._orig_mod.", "a.mask_decoder."]
)
def test_an_adapters_layers_are_found_whatever_the_decoder_lay_in(adapter, draft, tiny, prefix):
    assert_adds(add_expert(adapter(prefix=prefix), draft(), base=tiny), tiny, {LAYER: 3.0})


def test_a_card_may_lie_in_the_folder_and_the_file_may_be_given_for_the_folder(adapter, draft, tiny):
    folder = adapter()
    with pytest.raises(CardError, match=r"has no card\. Give one with the expert's id, base, covers"):
        add_expert(folder, base=tiny)
    draft(folder / "card.json")
    assert adapter_folder(folder / "adapter_model.safetensors") == folder
    assert_adds(add_expert(folder / "adapter_model.safetensors", base=tiny), tiny, {LAYER: 3.0})


def test_tensors_alone_are_taken_by_the_ranks_of_their_card(adapter, draft, tiny, tmp_path):
    """As `torch.save(model.state_dict())` and `get_peft_model_state_dict` leave them."""
    a, b = halves(tiny, LAYER, 2)
    names = f"{WHOLE}{LAYER}.lora_A.default.weight", f"{WHOLE}{LAYER}.lora_B.default.weight"
    torch.save(dict(zip(names, (a, b), strict=True)), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"Give the adapter's folder with its adapter_config\.json"):
        add_expert(tmp_path / "x.pth", draft(), base=tiny)
    card = draft(expert_kind="lora", lora={"rank": 2, "alpha": 6.0})
    assert_adds(add_expert(tmp_path / "x.pth", card, base=tiny), tiny, {LAYER: 3.0})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"use_dora": True}, r"use_dora: 'True' makes more of the adapter .*merge_and_unload"),
        ({"bias": "lora_only"}, r"bias: 'lora_only' makes more"),
        ({"lora_bias": True}, r"lora_bias: "),
        ({"modules_to_save": ["iou_token"]}, r"modules_to_save: "),
        ({"fan_in_fan_out": True}, r"fan_in_fan_out: "),
        ({"target_parameters": ["weight"]}, r"target_parameters: "),
        ({"of_a_later_version": {"a": 1}}, r"of_a_later_version: "),
        ({"peft_type": "LOHA"}, r"peft_type: is 'LOHA'\. Only 'LORA'"),
        ({"init_lora_weights": "pissa_niter_16"}, r"init_lora_weights: 'pissa_niter_16' changed the base's"),
        ({"use_rslora": "yes"}, r"use_rslora: is neither true nor false"),
        ({"r": 0}, r"r: is 0\. Expected a whole number above 0"),
        ({"r": 2.0}, r"r: is 2\.0\. Expected a whole number"),
        ({"lora_alpha": None}, r"lora_alpha: is None\. Expected a number above 0"),
        ({"lora_alpha": float("inf")}, r"Infinity is no number"),
        ({"r": 3}, r"the delta of .*q_proj has rank 2, and adapter_config\.json says 3"),
        ({"rank_pattern": [1]}, r"rank_pattern: is a list"),
        ({"rank_pattern": {"(a+)+": 2}}, r"'\(a\+\)\+' is too tangled"),
        ({"alpha_pattern": {"(": 2}}, r"'\(' is no regular expression"),
    ],
)
def test_what_is_more_than_deltas_on_the_decoder_is_refused_in_words(adapter, options, complaint):
    with pytest.raises(WeightsError, match=complaint):
        read_adapter(adapter(**options))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "base_model.model.image_encoder.blocks.0.attn.qkv.lora_A.weight",
            r"lies outside of the mask decoder",
        ),
        (f"{WHOLE}{LAYER}.lora_magnitude_vector.weight", r"is no half of a low-rank delta"),
        (f"{WHOLE}iou_token.lora_embedding_A", r"is no half of a low-rank delta"),
        (f"base_model.model.{LAYER}.lora_A.weight", r"has two deltas on transformer\.layers\.0"),
        (f"{WHOLE}{LAYER}.lora_A.second.weight", r"has two deltas on"),
    ],
)
def test_a_tensor_that_is_no_delta_on_the_decoder_is_named(adapter, name, complaint):
    with pytest.raises(WeightsError, match=complaint):
        read_adapter(adapter(more={name: torch.zeros(2, 2)}))


def test_an_adapter_without_its_tensors_and_one_for_other_layers_are_refused(adapter, draft, tiny):
    folder = adapter(prefix="base_model.model.mask_decoder.transformers.")
    with pytest.raises(WeightsError, match=r"no low-rank delta for transformers\."):
        add_expert(folder, draft(), base=tiny)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has adapter_config\.json, and no adapter_model\.safetensors"):
        add_expert(folder, draft(), base=tiny)


def test_a_card_that_contradicts_the_adapter_is_refused(adapter, draft, tiny):
    with pytest.raises(CardError, match=r"lora\.alpha: is not 6\.0, which .*adapter_config\.json gives"):
        add_expert(adapter(), draft(lora={"rank": 2, "alpha": 4}), base=tiny)
    with pytest.raises(CardError, match=r"expert_kind: is not 'lora'"):
        add_expert(adapter(), draft(expert_kind="decoder"), base=tiny)
    same = {"rank": 2, "alpha": 6}
    assert_adds(add_expert(adapter(), draft(lora=same, expert_kind="lora"), base=tiny), tiny, {LAYER: 3.0})
