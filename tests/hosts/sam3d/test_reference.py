"""Every number the reference computed, met within 2e-5: for each folder of vectors, one of which ships.

A variant is a folder with `ckpt.pth` (or `ckpt.safetensors`), `vectors.safetensors` and `meta.json`; those in
$SAM_MOE_REFERENCE are found when tests are collected. Prompt sets are the names `<set>.masks4` in the
vectors, each with any of `points`, `labels`, `boxes` and `mask` (absent is None) beside it.
"""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.space.upsampling import upsample

HERE = Path(__file__).resolve().parent
OUTSIDE = Path(os.environ.get("SAM_MOE_REFERENCE", HERE.parents[2] / ".." / "shared" / "reference")).resolve()
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Variant:
    """One folder of vectors with the network that its checkpoint makes."""

    meta: dict
    state: dict[str, Tensor]
    vectors: dict[str, Tensor]
    model: SamMed3D

    def check(self, name: str, ours: Tensor) -> None:
        """Compare with the vector of that name."""
        torch.testing.assert_close(
            ours, self.vectors[name], rtol=0, atol=TOLERANCE, msg=lambda m: f"{name}: {m}"
        )

    def prompt(self, name: str) -> list[Tensor | None]:
        """Points, labels, boxes and mask of a prompt set."""
        return [self.vectors.get(f"{name}.{part}") for part in ("points", "labels", "boxes", "mask")]

    def numbered(self, prefix: str, suffix: str = "") -> list[str]:
        """`prefix0suffix`, `prefix1suffix` and so on, as far as there are vectors."""
        names = (f"{prefix}{i}{suffix}" for i in range(len(self.vectors)))
        return [name for name in names if name in self.vectors]


@cache
def read(folder: Path) -> Variant:
    """Build the network from the checkpoint's own shapes and load it strictly."""
    meta = json.loads((folder / "meta.json").read_text())
    if (folder / "ckpt.pth").exists():
        state = torch.load(folder / "ckpt.pth", weights_only=True)
        state = state.get("model_state_dict", state)
    else:
        state = load_file(folder / "ckpt.safetensors")
    vectors = load_file(folder / "vectors.safetensors")  # inputs are stored as float16, exactly
    vectors = {k: v.float() if v.is_floating_point() else v for k, v in vectors.items()}
    model = SamMed3D(Sizes.from_state_dict(state, decoder_heads=meta.get("heads_decoder", 8)))
    model.load_state_dict(state, strict=True)
    return Variant(meta, state, vectors, model.eval())


def folders() -> list:
    """What ships, then what lies in the folder of references."""
    shipped = [pytest.param(f, id=f"shipped-{f.name}") for f in variants_in(HERE / "reference")]
    outside = [pytest.param(f, id=f.name) for f in variants_in(OUTSIDE)] if OUTSIDE.is_dir() else []
    if not outside:
        reason = f"no reference vectors in {OUTSIDE}; set SAM_MOE_REFERENCE to a folder that has them"
        outside = [pytest.param(None, id="outside", marks=pytest.mark.skip(reason=reason))]
    return shipped + outside


def variants_in(folder: Path) -> list[Path]:
    """Its subfolders with vectors."""
    return sorted(f.parent for f in folder.glob("*/vectors.safetensors"))


@pytest.fixture(params=folders())
def variant(request) -> Variant:
    return read(request.param)


@pytest.fixture(autouse=True)
def _frozen():
    with torch.no_grad():
        yield


def test_the_sizes_read_off_the_checkpoint_are_those_it_was_built_with(variant):
    build, sizes = variant.meta["build"], variant.model.sizes
    windows = [
        build["img"] // build["patch"] if i in build["glob"] else build["window"]
        for i in range(build["depth"])
    ]
    assert [block.attn.window for block in variant.model.image_encoder.blocks] == windows
    assert (sizes.image_size, sizes.patch_size, sizes.embed_dim) == (build["img"], build["patch"], build["E"])
    assert (sizes.depth, sizes.num_heads, sizes.out_channels) == (build["depth"], build["heads"], build["O"])
    assert sizes.corner_embeddings == build.get("boxes", False)
    assert sizes.decoder_mlp_dim == build.get("mlp", sizes.decoder_mlp_dim)
    assert sizes.decoder_depth == variant.meta.get("decoder_depth", sizes.decoder_depth)
    assert sizes.iou_hidden_dim == variant.meta.get("iou_head_hidden", sizes.iou_hidden_dim)


def test_a_network_of_these_sizes_has_exactly_the_checkpoints_keys(variant):
    ours = {name: tensor.shape for name, tensor in variant.model.state_dict().items()}
    assert ours == {name: tensor.shape for name, tensor in variant.state.items()}
    assert len(ours) == variant.meta.get("n_keys", len(ours))


@pytest.mark.parametrize("plain", [False, True], ids=["collapsed", "plain"])
def test_tokens_every_block_and_the_embedding_are_the_references(variant, plain):
    encoder, image = variant.model.image_encoder, variant.vectors["image"]
    x = encoder.patch_embed(image) + encoder.pos_embed
    variant.check("enc.tokens0", x)
    compared = variant.numbered("enc.block")
    for i, block in enumerate(encoder.blocks):
        x = block(x, plain)
        if f"enc.block{i}" in compared:
            variant.check(f"enc.block{i}", x)
    assert compared
    variant.check("enc.out", encoder(image, plain))


def test_the_dense_positions_are_the_references(variant):
    variant.check("dense_pe", variant.model.prompt_encoder.dense_map())


def test_all_prompts_and_all_four_masks_are_the_references(variant):
    model, embedding = variant.model, variant.model.encode(variant.vectors["image"])
    names = [key.removesuffix(".masks4") for key in variant.vectors if key.endswith(".masks4")]
    assert names
    for name in names:
        tokens = model.encode_prompt(*variant.prompt(name))
        variant.check(f"{name}.sparse", tokens.sparse)
        if f"{name}.dense" in variant.vectors:
            variant.check(f"{name}.dense", tokens.dense)
        batch = len(tokens.sparse)
        answer = model.mask_decoder(
            embedding.expand(batch, -1, -1, -1, -1),
            model.prompt_encoder.dense_map(),
            tokens.sparse,
            tokens.dense,
            masks=range(4),
        )
        variant.check(f"{name}.masks4", answer.logits)
        variant.check(f"{name}.iou4", answer.iou)


def test_click_by_click_every_logit_is_the_references(variant):
    """All clicks so far go in each time, with the last low-resolution logits as mask prompt: zeros at first.

    Taking only the newest click misses the second round by 0.7 and more. `final_up_slices` are every eighth
    slice (as many as there are, evenly) of the last logits brought to the region.
    """
    model, sizes = variant.model, variant.model.sizes
    rounds = variant.numbered("loop.", ".low_res")
    assert rounds
    embedding = model.encode(variant.vectors["image"])
    logits = torch.zeros(1, 1, *[sizes.low_res] * 3)
    for i, name in enumerate(rounds):
        points, labels = (
            torch.cat([variant.vectors[f"loop.{n}.{part}"] for n in range(i + 1)], dim=1)
            for part in ("point", "label")
        )
        logits = model.decode(embedding, model.encode_prompt(points, labels, None, logits))
        variant.check(name, logits)
    up = upsample(logits, sizes.image_size)
    slices = variant.vectors["loop.final_up_slices"].shape[2]
    variant.check("loop.final_up_slices", up[:, :, :: sizes.image_size // slices])
    differs = (up > 0) != (variant.vectors["loop.final_mask"] > 0)
    assert not (differs & (up.abs() > TOLERANCE)).any()


@pytest.mark.parametrize("corners", [False, True], ids=["public", "with corner embeddings"])
def test_at_full_size_the_parameters_are_those_of_the_public_model(corners):
    """100,509,232 parameters, the buffer of 3 x 128 not counted; corners add two vectors of 384."""
    with torch.device("meta"):
        model = SamMed3D(Sizes(corner_embeddings=corners))
    assert sum(p.numel() for p in model.parameters()) == 100_509_232 + corners * 2 * 384
    assert len(model.state_dict()) == 324 + corners * 2


def test_at_full_size_names_and_shapes_are_those_of_the_public_model():
    table = OUTSIDE / "state_dict_keys.tsv"
    if not table.exists():
        pytest.skip(f"no {table}; set SAM_MOE_REFERENCE to a folder that has it")
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    with torch.device("meta"):
        state = SamMed3D(Sizes()).state_dict()
    assert {k: "x".join(map(str, v.shape)) for k, v in state.items()} == {row[0]: row[1] for row in rows}
