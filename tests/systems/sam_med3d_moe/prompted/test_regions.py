"""The stream of regions is the same everywhere, and mixed, spoiled and normalised as it should be."""

import os
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sam_moe.errors import SamMoeError
from sam_moe.hosts.sam3d.normalise import normalise
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Mix, Regions
from sam_moe.training.scans.cache import Scan
from sam_moe.training.scans.crops import RANGES, CropRanges
from sam_moe.training.scans.phantoms import draw_phantom

ROOT = Path(__file__).resolve().parents[4]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def flat_scan(name="g"):
    """A scan of nothing but zeros: a region cut from it has no contrast, which every phantom has."""
    labels = torch.zeros(48, 48, 48, dtype=torch.int16)
    labels[20:28, 20:28, 20:28] = 1
    image = torch.zeros(48, 48, 48, dtype=torch.int16)
    return Scan("x", name, (image,), ((1.0, 1.0, 1.0),), labels, {1: "one"})


NEAR = CropRanges(0.0, click_spacing_mm=(1.0, 1.0), rotated_share=0.0, jitter_voxels=2.0)


def stream(scans, **changes):
    """Regions of 16 voxels, with changes to how they are cut, mixed or spoiled."""
    plain = {"phantom_share": 0.1, "ranges": NEAR, **changes}
    of = {
        kind: {f.name: plain[f.name] for f in fields(kind) if f.name in plain}
        for kind in (Cut, Mix, Appearance)
    }
    return Regions(scans, Cut(16, **of[Cut]), 3, Mix(**of[Mix]), Appearance(**of[Appearance]))


def test_sample_n_is_the_same_in_any_order_and_differs_from_the_others(scans):
    there, back = stream(scans, ranges=RANGES), stream(scans, ranges=RANGES)
    first = [there[n] for n in range(6)]
    again = [back[n] for n in reversed(range(6))][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["target"], b["target"])
    assert not any(torch.equal(a["image"], b["image"]) for a, b in pairwise(first))


@pytest.mark.slow
def test_sample_n_is_the_same_in_every_process(scans, tmp_path):
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from sam_moe.systems.sam_med3d_moe.prompted.regions import Cut, Mix, Regions\n"
        "from sam_moe.training.scans.cache import read_cache\n"
        "torch.set_num_threads(1)\n"
        "stream = Regions(read_cache(Path('train.safetensors')), Cut(16), 3, Mix({}, 0.1))\n"
        "torch.save([stream[n] for n in (5, 900_000)], 'samples.pt')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
    here = stream(scans, ranges=RANGES)
    for number, there in zip((5, 900_000), torch.load(tmp_path / "samples.pt"), strict=True):
        assert torch.equal(here[number]["image"], there["image"])
        assert torch.equal(here[number]["target"], there["target"])


@pytest.mark.slow
def test_phantoms_are_half_of_the_curriculum_and_their_share_afterwards():
    samples = stream([flat_scan()], curriculum=200, spoil_share=0.0)
    phantom = [bool(samples[n]["image"].std() > 0) for n in range(400)]
    # three standard deviations: 3 * sqrt(0.25 * 200) = 21, 3 * sqrt(0.09 * 200) = 13
    assert 100 - 21 <= sum(phantom[:200]) <= 100 + 21
    assert 20 - 13 <= sum(phantom[200:]) <= 20 + 13


@pytest.mark.slow
def test_sets_are_drawn_by_their_weights():
    big = flat_scan("a")
    big.labels[16:32, 16:32, 16:32] = 1
    samples = stream([big, flat_scan("b")], weights={"a": 3.0}, phantom_share=0.0)
    from_a = sum(bool(samples[n]["target"].sum() > 8**3) for n in range(200))
    assert 150 - 19 <= from_a <= 150 + 19  # 3 * sqrt(0.1875 * 200) = 18.4


def test_without_scans_all_are_phantoms():
    assert stream([], phantom_share=0.0)[0]["target"].any()


def test_scans_without_anything_to_see_are_an_error_and_no_endless_search():
    scan = flat_scan()
    scan.labels[:] = 0
    scan.labels[4, 4, 4] = 1
    with pytest.raises(SamMoeError, match=r"1000 draws gave no region for sample 7"):
        stream([scan], phantom_share=0.0)[7]


@pytest.mark.parametrize("how", ["mean", "positive"])
def test_regions_are_normalised_as_prediction_will(how):
    drawing, crop = rng(3 * 1_000_003), None
    while crop is None:
        crop = draw_phantom(16, drawing, 2)
    sample = stream([], phantom_share=1.0, spoil_share=0.0, normalisation=how, targets=2)[0]
    assert torch.equal(sample["image"][0], normalise(crop.image, how))
    assert torch.equal(sample["target"], crop.targets) and len(crop.targets) == 2


@pytest.mark.slow
def test_a_share_of_the_regions_is_spoilt():
    plain, half = (stream([], spoil_share=share) for share in (0.0, 0.5))
    same = [torch.allclose(plain[n]["image"], half[n]["image"], atol=1e-3) for n in range(60)]
    # of the spoilt ones 0.14 are left as they were: 0.57 in all, three standard deviations are 0.19
    assert 0.57 - 0.19 < sum(same) / 60 < 0.57 + 0.19
