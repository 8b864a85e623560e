"""The cache file: small, the same bytes every time, and it gives back scans whose contrast is kept."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from sam_moe.errors import ConfigError, FileError
from sam_moe.training.scans.cache import (
    Scan,
    cache_origin,
    cached_labels,
    eight_bits,
    read_cache,
    write_cache,
)
from sam_moe.training.scans.sources import read_folder

ROOT = Path(__file__).resolve().parents[3]


def case_of(image, label, spacing=(2.0, 2.0, 2.0)):
    names = {int(v): str(int(v)) for v in label.unique() if v > 0}
    return {
        "name": "x",
        "set": "g",
        "image": image,
        "label": label,
        "spacing_mm": spacing,
        "structures": names,
    }


def test_a_cache_gives_back_scans_with_halved_copies(folder, splits, tmp_path):
    cases = read_folder(folder, splits)
    write_cache(cases, tmp_path / "deep" / "c.safetensors", "origin")
    scans = read_cache(tmp_path / "deep" / "c.safetensors")
    assert cache_origin(tmp_path / "deep" / "c.safetensors") == "origin"
    assert [(s.name, s.group) for s in scans] == [("a", "balls"), ("b", "balls"), ("m", "maps")]
    for scan, case in zip(scans, cases, strict=True):
        assert torch.equal(scan.labels, case["label"]) and scan.structures == case["structures"]
        assert scan.spacings_mm[0] == tuple(case["spacing_mm"])
    assert torch.equal(scans[0].levels[0], cases[0]["image"])  # fewer than 257 values: every bit
    # 2.0 x 2.5 x 3.0 mm: halved until no axis is finer than 4 mm
    assert scans[0].spacings_mm[1:] == ((4.0, 5.0, 6.0),)
    blocks = cases[0]["image"].double().reshape(12, 2, 10, 2, 8, 2).mean(dim=(1, 3, 5))
    assert torch.equal(scans[0].levels[1], blocks.round().to(torch.int16))
    assert scans[2].levels == ()


def test_the_last_voxel_of_an_odd_axis_has_its_block(tmp_path):
    image = torch.tensor([10, 30, 50, 70, 90], dtype=torch.int16)[:, None, None]
    write_cache([case_of(image, image, (2.0, 5.0, 5.0))], tmp_path / "c.safetensors")
    levels = read_cache(tmp_path / "c.safetensors")[0].levels
    assert [level.flatten().tolist() for level in levels] == [[10, 30, 50, 70, 90], [20, 60, 90]]


@pytest.mark.parametrize("count", [1, 256, 257, 600])
def test_labels_come_back_however_many_there_are(count, tmp_path):
    label = (torch.arange(count) * 50).flip(0).to(torch.int16).reshape(-1, 1, 1)
    write_cache([case_of(None, label)], tmp_path / "c.safetensors")
    assert torch.equal(read_cache(tmp_path / "c.safetensors")[0].labels, label)


def test_eight_bits_are_exact_for_256_values():
    image = (torch.arange(512) % 256 * 16).to(torch.int16).reshape(8, 8, 8)
    codes, values = eight_bits(image)
    assert codes.dtype == torch.uint8 and torch.equal(values[codes.long()], image)


def test_organs_that_differ_by_little_keep_their_contrast_on_a_wide_scale():
    """Half air, soft tissue in two organs 20 apart, some bone: what a CT has, with 16 per step if even."""
    rng = torch.Generator().manual_seed(0)
    normal = torch.randn(3, 40_000, generator=rng)
    air, liver, spleen = 30 + 10 * normal[0].abs(), 1100 + 12 * normal[1], 1120 + 12 * normal[2]
    bone = 1200 + 2895 * torch.rand(8_000, generator=rng)
    image = torch.cat([air, liver, spleen, bone]).to(torch.int16).reshape(128, 10, 100)
    codes, values = eight_bits(image)
    error = (values[codes.long()] - image).flatten().abs().float()
    assert len(values) <= 256 and codes.dtype == torch.uint8
    assert error[40_000:120_000].mean() < 0.75
    even = ((image.float() / 4095 * 255).round() / 255 * 4095 - image).flatten().abs()
    assert even[40_000:120_000].mean() > 3.5
    assert error.max() <= 4096 * 9 / 256  # a ninth of the codes is spread evenly


@given(st.integers(0, 2**31), st.integers(2, 32767), st.floats(0.1, 6.0))
def test_eight_bits_keep_the_order_of_values(seed, span, skew):
    rng = torch.Generator().manual_seed(seed)
    image = (torch.rand(12, 12, 12, generator=rng) ** skew * span).to(torch.int16)
    codes, values = eight_bits(image)
    assert len(values) <= 256 and (values.diff() > 0).all()
    there = values[codes.long()]
    order = image.flatten().argsort()
    assert (there.flatten()[order].diff() >= 0).all()
    assert (there - image).abs().max() <= (int(image.max()) + 1) * 9 / 256 + 1


@pytest.mark.slow
def test_the_same_scans_give_the_same_bytes_in_every_process(folder, splits, tmp_path):
    program = (
        "import sys; from pathlib import Path; from sam_moe.training.scans.cache import write_cache\n"
        "from sam_moe.training.scans.sources import read_folder\n"
        "write_cache(read_folder(*map(Path, sys.argv[1:3])), Path(sys.argv[3]), 'origin')"
    )
    for name in "ab":
        subprocess.run([sys.executable, "-c", program, folder, splits, tmp_path / name], cwd=ROOT, check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_cache_that_cannot_be_written_whole_leaves_the_old_one(folder, splits, tmp_path):
    path = tmp_path / "c.safetensors"
    cases = read_folder(folder, splits)
    write_cache(cases, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_cache([{**cases[0], "structures": {1: object()}}], path)
    (tmp_path / "other").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        write_cache(cases, tmp_path / "other")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("data", "splits.json")) == [
        "c.safetensors",
        "other",
    ]


def test_there_is_no_origin_without_a_cache(tmp_path):
    assert cache_origin(tmp_path / "none.safetensors") is None


def test_a_cache_of_another_format_has_no_origin_and_is_refused(folder, splits, tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"0.label": torch.zeros(2)}, path, metadata={"cases": "[]", "origin": "then"})
    assert cache_origin(path) is None
    with pytest.raises(
        ConfigError, match=r"c\.safetensors: a cache of format 1; this sam-moe reads 2\. Delete"
    ):
        read_cache(path)
    save_file({}, path, metadata={"cache": json.dumps({"format": 3, "new": True})})
    assert cache_origin(path) is None
    with pytest.raises(ConfigError, match=r"format 3; this sam-moe reads 2"):
        read_cache(path)


@pytest.mark.parametrize("how", ["cut", "no cache", "damaged"])
def test_a_file_that_did_not_travel_well_is_refused(folder, splits, tmp_path, how):
    path = tmp_path / "c.safetensors"
    write_cache(read_folder(folder, splits), path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-9], "no cache": b"hello", "damaged": whole[:-9] + bytes(9)}[how])
    with pytest.raises(
        ConfigError, match=r"c\.safetensors: (not readable as a cache|damaged).*Copy it again"
    ):
        read_cache(path)


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_voxels_of_a_structure_are_where_its_label_is(seed, count):
    labels = torch.randint(0, count + 1, (3, 4, 5), generator=torch.Generator().manual_seed(seed))
    scan = Scan(
        "s", "g", (), ((1.0, 1.0, 1.0),), labels.to(torch.int16), {v: str(v) for v in range(1, count + 1)}
    )
    found = torch.zeros_like(labels)
    for value, index in scan.voxels.items():
        found[tuple(index.long().T)] = value
    assert torch.equal(found, labels)


def test_what_is_written_beside_the_tensors_is_plain_json(folder, splits, tmp_path):
    write_cache(read_folder(folder, splits), tmp_path / "c.safetensors")
    with safe_open(tmp_path / "c.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["cache"])
    assert [c["name"] for c in about["cases"]] == ["a", "b", "m"]
    assert about["cases"][2]["shape"] == [24, 20, 16] and "image" not in about["cases"][2]


@pytest.mark.slow
def test_what_the_shipped_weights_learn_from_fits_into_35_megabytes_and_keeps_its_contrast(
    data_dir, tmp_path
):
    recipe = yaml.safe_load((ROOT / "checkpoints" / "tiny" / "recipe.yaml").read_text())["data"]
    cases = read_folder(data_dir, ROOT / "benchmarks/splits.json", "train", frozenset(recipe["leave_out"]))
    path = tmp_path / "train.safetensors"
    write_cache(cases, path)
    began = time.process_time()
    scans = read_cache(path)
    seconds = time.process_time() - began
    megabytes, worst = path.stat().st_size / 1e6, 0.0
    for case, scan in zip(cases, scans, strict=True):
        assert torch.equal(scan.labels, case["label"])
        if case["image"] is None:
            continue
        error = (scan.levels[0] - case["image"]).abs().float()
        for value, name in case["structures"].items():
            if (inside := case["label"] == value).sum() < 12:  # too little to be learnt
                continue
            mean, spread = float(error[inside].mean()), float(case["image"][inside].float().std())
            worst = max(worst, mean)
            # against what lies in a structure anyway; where that is little, as in soft tissue, far below 20
            assert mean < max(2.5, 0.03 * spread), (case["name"], name, mean, spread)
    print(f"{megabytes:.1f} MB, read in {seconds:.1f} s, largest mean error of a structure {worst:.2f}")
    assert megabytes <= 35 and seconds < 6


def test_what_a_cache_shows_is_named_alone_and_with_its_set(folder, splits, tmp_path):
    write_cache(read_folder(folder, splits), tmp_path / "c.safetensors")
    assert cached_labels(tmp_path / "c.safetensors") == {
        *("ball", "balls/ball", "box", "balls/box"),
        *("label 1", "maps/label 1", "label 2", "maps/label 2"),
    }
