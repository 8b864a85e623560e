"""Converting a public checkpoint: recognised, checked, renamed, and nothing left out in silence."""

import json
import time

import pytest
import torch

from sam_moe.errors import CardError, ConfigError, FileError, WeightsError
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.registry import Registry, read_entry
from sam_moe.systems.m4oe.convert.converting import Wanted, convert_public
from sam_moe.systems.m4oe.load import load
from sam_moe.systems.m4oe.model import Slices
from sam_moe.weights.files import read_metadata, read_state
from tests.systems.m4oe.convert.checkpoints import MAE, TINY, m4oe, network, saved, swin_mae


def loaded(made):
    return load(read_entry(made.path), None, "cpu", None).network.module


@pytest.mark.parametrize("prefix", ["", "swin_unet.", "module.swin_unet."])
def test_a_checkpoint_answers_as_its_network_does(tmp_path, prefix):
    state = m4oe()
    made = convert_public(saved(state, tmp_path / "best.pth", prefix), tmp_path)
    assert (made.origin, made.card.id, made.path) == ("m4oe", "best", tmp_path / "best" / "card.json")
    assert made.card.architecture == TINY
    assert Registry(tmp_path).get("best").card == made.card
    public = network()
    public.load_state_dict({name: t for name, t in state.items() if name in public.state_dict()})
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    heads = torch.tensor([1, 0, 1])
    with torch.no_grad():
        ours, _ = loaded(made)(Slices(images, heads, torch.arange(3)))
        torch.testing.assert_close(ours, public(images, heads), rtol=0, atol=1e-5)


def test_a_plain_state_is_read_too_and_stored_bits_are_kept(tmp_path):
    state = m4oe()
    torch.save(state, tmp_path / "x.pth")
    made = convert_public(tmp_path / "x.pth", tmp_path)
    kept = read_state(made.path.parent / "model.safetensors")
    for name in ("norm.weight", "layers.3.blocks.0.attn.qkv.weight", "outputs.1.weight"):
        assert torch.equal(kept[f"host.{name}"], state[name])
    expert = "layers_up.3.blocks.0.mlp.experts.1.2.bias"
    assert torch.equal(kept["host.layers_up.3.blocks.0.mlp.site.experts.expert-1.2.bias"], state[expert])
    assert "source_sha256" in read_metadata(made.path.parent / "model.safetensors")


def test_what_was_recognised_and_what_became_of_it_is_said(tmp_path):
    made = convert_public(saved(m4oe(), tmp_path / "best.pth"), tmp_path)
    lines = str(made).splitlines()
    assert lines[0].startswith("best: M4oE with its gate over channels: all ")
    assert "2 experts, heads of 3, 2 classes, pictures of 64 pixels" in lines[0]
    computed = sum(name.endswith(("attn_mask", "relative_position_index")) for name in m4oe())
    assert lines[1:] == [f"  computed anew: {computed} masks and indices of positions"]
    assert made.use == "sam-moe segment SCAN --model {} --as set-0 --out LABELS"


def test_swin_maes_feed_forward_parts_reach_every_expert(tmp_path):
    state = swin_mae()
    made = convert_public(saved(state, tmp_path / "mae.pth", ""), tmp_path, Wanted(heads=(4, 3)))
    assert (made.origin, made.card.architecture) == ("swin-mae", MAE)
    kept = read_state(made.path.parent / "model.safetensors")
    first = state["layers.1.blocks.0.mlp.fc1.weight"]
    for id in ("expert-0", "expert-1"):
        assert torch.equal(kept[f"host.layers.1.blocks.0.mlp.site.experts.{id}.0.weight"], first)
    assert torch.equal(kept["host.layers_up.0.expand.weight"], state["first_patch_expanding.expand.weight"])
    last = state["layers_up.2.blocks.1.mlp.fc2.bias"]
    assert torch.equal(kept["host.layers_up.3.blocks.1.mlp.site.experts.expert-1.2.bias"], last)
    text = str(made)
    assert "  left out: " in text
    assert {"pos_embed", "mask_token", "decoder_pred.weight", "decoder_pred.bias"} <= set(made.dropped)
    assert text.splitlines()[-1] == (
        "  new, untrained: norm, concat_back_dim.1, concat_back_dim.2, concat_back_dim.3, up.expand, "
        "up.norm, outputs.0, outputs.1"
    )
    assert made.use.startswith("start: {}")
    loaded(made)


def test_equal_files_give_equal_bytes_also_of_what_is_new(tmp_path):
    source = saved(swin_mae(), tmp_path / "mae.pth")
    torch.manual_seed(1)
    first = convert_public(source, tmp_path / "a", Wanted(heads=(2,)))
    torch.manual_seed(2)
    second = convert_public(source, tmp_path / "b", Wanted(heads=(2,)))
    for name in ("card.json", "model.safetensors"):
        assert (first.path.parent / name).read_bytes() == (second.path.parent / name).read_bytes()


@pytest.mark.parametrize("experts", [1, 3])
def test_any_number_of_experts_is_read_and_a_hard_one_is_routed_by_the_set(tmp_path, experts):
    made = convert_public(saved(m4oe(experts=experts), tmp_path / "x.pth"), tmp_path)
    assert len(made.card.mixture.experts) == experts
    names = loaded(made).state_dict()
    assert "host.layers.0.blocks.0.mlp.gating_network.weight" in names
    hard = {name: t for name, t in m4oe(experts=2).items() if "gating" not in name}
    forced = convert_public(saved(hard, tmp_path / "hard.pth"), tmp_path)
    assert forced.card.mixture.scores == "forced"
    assert not any("gating" in name for name in loaded(forced).state_dict())


def test_a_draft_names_sets_and_labels(tmp_path):
    draft = {"sets": [{"id": "amos", "labels": [{"name": "liver"}, {"name": "spleen"}]}, {"id": "atlas"}]}
    (tmp_path / "draft.json").write_text(json.dumps(draft))
    wanted = Wanted("mine", tmp_path / "draft.json")
    made = convert_public(saved(m4oe(), tmp_path / "x.pth"), tmp_path, wanted)
    assert (made.card.id, made.card.sets[0].labels[1].name) == ("mine", "spleen")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.pop("norm.weight"), r"taken for M4oE .*\n  norm: missing: norm.weight"),
        (lambda s: s.update(absolute_pos_embed=torch.zeros(2)), "unexpected: absolute_pos_embed"),
        (
            lambda s: s.update({"norm_up.bias": torch.zeros(5)}),
            "norm_up.bias is 5 float32, expected 4 float32",
        ),
        (
            lambda s: s["norm_up.bias"].fill_(float("nan")),
            "NaN or infinite numbers in swin_unet.norm_up.bias",
        ),
        (lambda s: s["layers.1.blocks.1.attn_mask"].zero_(), "attn_mask is another one"),
        (
            lambda s: s.clear() or s.update(a=torch.zeros(1)),
            "is neither of M4oE's public code nor of Swin-MAE's",
        ),
    ],
)
def test_what_does_not_fit_is_reported_and_leaves_nothing(tmp_path, spoil, complaint):
    state = {name: tensor.clone() for name, tensor in m4oe().items()}
    spoil(state)
    source = saved(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=complaint):
        convert_public(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_swin_mae_cut_short_is_no_start(tmp_path):
    state = swin_mae()
    del state["layers_up.1.blocks.0.mlp.fc2.weight"]
    with pytest.raises(
        WeightsError, match=r"Swin-MAE, and does not fit it.*\n.*layers_up.1.blocks.0.mlp.fc2"
    ):
        convert_public(saved(state, tmp_path / "x.pth"), tmp_path, Wanted(heads=(2,)))


def test_heads_are_asked_of_swin_mae_alone(tmp_path):
    with pytest.raises(ConfigError, match="has no heads"):
        convert_public(saved(swin_mae(), tmp_path / "x.pth"), tmp_path)
    with pytest.raises(ConfigError, match="has heads of its own"):
        convert_public(saved(m4oe(), tmp_path / "y.pth"), tmp_path, Wanted(heads=(2,)))


def test_what_is_there_is_replaced_by_force_alone(tmp_path):
    source = saved(m4oe(), tmp_path / "x.pth")
    convert_public(source, tmp_path)
    with pytest.raises(FileError, match=r"already has card\.json and model\.safetensors"):
        convert_public(source, tmp_path)
    assert convert_public(source, tmp_path, Wanted(force=True)).report.ok


def test_an_id_that_is_no_folders_name_is_refused(tmp_path):
    with pytest.raises(CardError, match="id"):
        convert_public(saved(m4oe(), tmp_path / "x.pth"), tmp_path / "out", Wanted("../x"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_public_network_at_full_size_converts_bit_for_bit_in_seconds(tmp_path):
    sizes = SwinSizes(classes=(14, 3, 16))
    with torch.device("meta"):
        shapes = network(sizes, 3).state_dict()
    assert sum(tensor.numel() for tensor in shapes.values()) == 60_432_132
    rng = torch.Generator().manual_seed(0)
    state = {name: torch.randn(tensor.shape, generator=rng) for name, tensor in shapes.items()}
    source = saved(state, tmp_path / "full.pth")
    started = time.process_time()  # the processor's time: the machine may be busy
    made = convert_public(source, tmp_path)
    assert time.process_time() - started < 20
    assert made.card.architecture == sizes
    assert "3 experts, heads of 14, 3, 16 classes, pictures of 224 pixels" in str(made)
    kept = loaded(made).state_dict()
    gates = {name for name in kept if ".site.gate." in name}
    assert len(kept) - len(gates) == len(state)
    for name, theirs in (
        ("host.up.expand.weight", "up.expand.weight"),
        ("host.layers.3.blocks.1.mlp.gating_network.weight", "layers.3.blocks.1.mlp.gating_network.weight"),
        (
            "host.layers_up.1.blocks.0.mlp.site.experts.expert-2.0.weight",
            "layers_up.1.blocks.0.mlp.experts.2.0.weight",
        ),
    ):
        assert torch.equal(kept[name], state[theirs])
