"""The public network's numbers, met for every folder of vectors (`public.FOLDER`)."""

import pytest
import torch
from scipy.ndimage import zoom
from torch import Tensor

from sam_moe.hosts.swin_unet.blocks import SwinBlock
from sam_moe.hosts.swin_unet.network import SwinUNet
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from tests.hosts.swin_unet.public import (
    FOLDER,
    NEAR,
    NONE,
    PREFIX,
    ChannelGated,
    answers,
    difference,
    folders,
    read,
    two_best,
)

SAFE = 1e-3  # where the two best classes are nearer, float32 may choose either
BEFORE = {"patch_embed": "patch_embed", "bottleneck": "norm"}
BEFORE |= {f"encoder.{stage}": f"layers.{stage}" for stage in range(4)}
AFTER = {"expand.0": "layers_up.0", "decoder.norm": "norm_up"}
AFTER |= {f"decoder.{step}": f"layers_up.{step}" for step in (1, 2, 3)}


@pytest.fixture(params=folders("input", "predict_head", "logits"))
def variant(request):
    return read(request.param)


def test_every_block_has_the_public_window_shift_and_resolution(variant):
    blocks = {n: m for n, m in variant.network().named_modules() if isinstance(m, SwinBlock)}
    found = {
        n: [m.attn.windows.edge, m.attn.windows.shift, [m.attn.windows.tokens] * 2] for n, m in blocks.items()
    }
    assert found == variant.case["blocks_window_shift_resolution"]


def test_masks_and_indices_are_those_of_the_public_checkpoint(variant):
    network = variant.network()
    stored = [name for name in variant.state if name.endswith("relative_position_index")]
    assert len(stored) == len(variant.case["blocks_window_shift_resolution"])
    for name in stored:
        ours = network.get_submodule(name.rpartition(".")[0]).relative_position_index
        assert torch.equal(ours.view_as(variant.state[name]), variant.state[name]), name
    for name in (name for name in variant.state if name.endswith("attn_mask")):
        assert torch.equal(network.get_submodule(name.rpartition(".")[0]).attn.attn_mask, variant.state[name])


def test_in_double_the_logits_are_the_public_ones(variant):
    with torch.no_grad():
        ours = variant.network().double()(variant.images.double(), variant.heads)
    if "logits_float64" in variant.vectors:
        assert difference(ours, variant.vectors["logits_float64"]) <= 1e-9
    else:
        every = variant.vectors["logits_float64_every_4th"]
        assert difference(ours[..., ::4, ::4], every) <= 1e-9


def test_in_single_precision_everything_up_to_the_bottleneck_is_near(variant):
    network = variant.network()
    seen = answers(network, lambda: network(variant.images, variant.heads))
    for vector, module in BEFORE.items():
        assert difference(seen[module][1], variant.vectors[f"mid.{vector}"]) <= 1e-5, vector
    given, answer = seen["layers.1.blocks.0.mlp"]
    gate = seen["layers.1.blocks.0.mlp.gating_network"][1].softmax(-1)
    site = {"input": given, "gate": gate, "output": answer}
    for vector, ours in site.items():
        assert difference(ours, variant.vectors[f"mid.site.{vector}"]) <= 1e-5, vector


def test_in_single_precision_the_decoder_and_the_logits_are_near(variant):
    network = variant.network()
    logits = []
    seen = answers(network, lambda: logits.append(network(variant.images, variant.heads)))
    for vector, module in AFTER.items():
        assert difference(seen[module][1], variant.vectors[f"mid.{vector}"]) <= NEAR, vector
    theirs = variant.vectors["logits"]
    assert difference(logits[0], theirs) <= NEAR
    sure = two_best(theirs) > SAFE
    assert sure.float().mean() > 0.9
    assert torch.equal(logits[0].argmax(1)[sure], theirs.argmax(1)[sure])


def test_features_under_a_head_are_the_logits_and_shorter_heads_end_in_zeros(variant):
    network = variant.network()
    with torch.no_grad():
        features = network.features(variant.images)
        logits = network(variant.images, variant.heads)
        for row, head in enumerate(variant.heads.tolist()):
            classes = variant.sizes.classes[head]
            torch.testing.assert_close(
                logits[row, :classes], network.outputs[head](features[row]), rtol=0, atol=1e-5
            )
            assert not logits[row, classes:].any()
    assert logits.shape[1] == max(variant.sizes.classes[head] for head in variant.heads.tolist())


@pytest.mark.parametrize("folder", folders("volume", "volume_answer"))
def test_a_volume_is_answered_slice_by_slice_as_the_public_code_does(folder):
    variant = read(folder)
    edge, network = variant.sizes.image_size, variant.network()
    for image, theirs in zip(variant.vectors["volume"], variant.vectors["volume_answer"], strict=True):
        steps = torch.tensor([edge, edge]) / torch.tensor(image.shape)
        slim = torch.from_numpy(zoom(image.numpy(), steps.tolist(), order=3))
        with torch.no_grad():
            logits = network(slim[None, None], variant.vectors["volume_head"])
        answer = torch.from_numpy(zoom(logits[0].argmax(0).numpy(), (1 / steps).tolist(), order=0))
        unsure = torch.from_numpy(zoom((two_best(logits)[0] < SAFE).numpy(), (1 / steps).tolist(), order=0))
        assert torch.equal(answer[~unsure], theirs[~unsure].long())
        assert (answer != theirs).sum() <= 2


def loaded(vectors: dict[str, Tensor], what: str, case: dict) -> ChannelGated:
    place = ChannelGated(case["dim"], case["hidden"], case["experts"])
    prefix = f"{what}.weights."
    state = {n.removeprefix(prefix): t for n, t in vectors.items() if n.startswith(prefix)}
    missing, unexpected = place.load_state_dict(state, strict=False)
    assert unexpected == []
    assert set(missing) <= {"gating_network.weight", "gating_network.bias"}
    return place


@pytest.mark.parametrize("folder", folders("gating.input", "dataset.input"))
def test_the_oracle_of_a_place_is_the_public_one_gated_and_hard(folder):
    variant = read(folder)
    vectors = variant.vectors
    with torch.no_grad():
        gated = loaded(vectors, "gating", variant.case)
        assert difference(gated(vectors["gating.input"]), vectors["gating.output"]) <= 1e-6
        hard = loaded(vectors, "dataset", variant.case)
        for row, expert in enumerate(vectors["dataset.dataset_id"].tolist()):
            ours = hard.experts[expert](vectors["dataset.input"][row])
            assert difference(ours, vectors["dataset.output"][row]) <= 1e-6


@pytest.mark.skipif(not (FOLDER / "full_size_keys_e3.tsv").exists(), reason=NONE)
def test_at_full_size_every_public_tensor_has_its_name_and_shape():
    rows = [line.split("\t") for line in (FOLDER / "full_size_keys_e3.tsv").read_text().splitlines()[1:]]
    public = {name.removeprefix(PREFIX): shape for name, shape, _, kind in rows if kind == "parameter"}
    with torch.device("meta"):
        network = SwinUNet(SwinSizes(classes=(14, 3, 16)), lambda _, w, h: ChannelGated(w, h, 3))
    ours = {name: "x".join(map(str, tensor.shape)) for name, tensor in network.state_dict().items()}
    assert ours == public
    assert sum(tensor.numel() for tensor in network.parameters()) == 60_432_132
