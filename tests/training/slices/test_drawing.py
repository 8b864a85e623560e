"""Tiles by number: repeatable, organs alike, left on the left, with what lies below and above."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.registry.automatic import Label
from sam_moe.training.engine.samples import Samples, Share, batches
from sam_moe.training.slices.cache import SliceCache
from sam_moe.training.slices.drawing import DrawnSlices
from sam_moe.training.slices.keeping import keep_slices
from sam_moe.training.slices.settings import Augmentation, Drawing, SliceData
from tests.training.slices.conftest import BODIES

PLAIN = Augmentation(on=False)
TURNED = Augmentation(moved=1, contrast=0, brightness=0, noise=0)


@pytest.fixture
def tiles(cache):
    """Makes a stream of tiles of the cache, plain unless asked otherwise."""

    def make(seed=0, cache=cache, **drawing):
        return DrawnSlices(cache, Drawing(**{"tile": 24, "augmentation": PLAIN, **drawing}), seed)

    return make


def state(number):
    return np.random.RandomState(number)


def places(tiles, count=700):
    return [tiles.draw(state(number)) for number in range(count)]


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("augmentation", [PLAIN, Augmentation()])
def test_a_sample_is_what_the_loss_of_an_automatic_model_takes(tiles, augmentation):
    for number in range(12):
        sample = tiles(augmentation=augmentation)[number]
        assert sample["image"].shape == (3, 24, 24) and sample["image"].dtype == torch.float32
        assert sample["target"].shape == (24, 24) and sample["target"].dtype == torch.int64
        assert sample["contoured"].shape == (4,) and sample["contoured"].dtype == torch.bool
        assert sample["set"].shape == sample["scan"].shape == () and sample["set"].dtype == torch.int64
        assert type(sample["image"]) is torch.Tensor and sample["image"].isfinite().all()


def test_number_n_is_the_same_in_any_order_and_after_reopening(tiles, cache, both):
    first = tiles(augmentation=Augmentation())
    wanted = {number: first[number] for number in range(30)}
    again = tiles(cache=SliceCache(cache.folder, both), augmentation=Augmentation())
    for number in reversed(range(30)):
        assert equal(again[number], wanted[number])
        assert equal(first[number], wanted[number])


def test_number_n_is_the_same_in_every_worker_and_process(tiles):
    drawn = tiles(augmentation=Augmentation())
    rows = [drawn[number] for number in range(16)]
    for workers in (0, 2):
        for process in (0, 1):
            share = Share(batch_size=2, process=process, processes=2)
            found = list(batches(Samples(drawn, workers), range(1, 3), share, torch.device("cpu")))
            for step, batch in zip((1, 2), found, strict=True):
                start = (step * 2 + process) * 2
                for key, value in batch.items():
                    assert torch.equal(value, torch.stack([row[key] for row in rows[start : start + 2]]))


def test_what_was_drawn_elsewhere_changes_no_sample(tiles):
    drawn = tiles(augmentation=Augmentation())
    wanted = drawn[3]
    torch.manual_seed(1)
    np.random.seed(1)
    torch.rand(5)
    assert equal(drawn[3], wanted)


def test_numbers_and_seeds_draw_others(tiles):
    drawn, other = tiles(), tiles(seed=1)
    assert not all(equal(drawn[0], drawn[number]) for number in range(1, 5))
    assert not all(equal(drawn[number], other[number]) for number in range(5))
    assert tiles(seed=-3)[0].keys() == drawn[0].keys()


def test_a_stream_is_as_long_as_any_training(tiles):
    assert len(tiles()) >= 10**9


def test_channels_are_the_slice_below_the_slice_and_the_one_above(tiles, cache):
    drawn = tiles(organ_share=0, weights={"plain-mr": 0})
    ends = set()
    for number in range(60):
        sample = drawn[number]
        dark = sample["image"].amin(dim=(1, 2))  # 100 in slice 0 of body a, 10 more each slice up
        offset = 100 + int(sample["scan"])
        levels = [round((float(value) * 1000 - offset) / 10) for value in dark]
        middle = levels[1]
        assert levels == [max(0, middle - 1), middle, min(7, middle + 1)]
        ends |= {middle} & {0, 7}
    assert ends == {0, 7}


@pytest.mark.parametrize("augmentation", [PLAIN, TURNED])
def test_labels_lie_on_what_they_name(tiles, augmentation):
    drawn = tiles(augmentation=augmentation, weights={"plain-mr": 0}, tile=32)
    seen = set()
    for number in range(60):
        sample = drawn[number]
        middle = sample["image"][1] * 1000 - 100
        for label, more in ((1, 300), (2, 400), (3, 500)):
            inside = sample["target"] == label
            if inside.any():
                seen.add(label)
                assert float(middle[inside].max()) < more + 80
                # A turned border is mixed of both sides, in image and labels alike to half a pixel
                assert float(middle[inside].median()) > more * 0.45
        assert float(middle[sample["target"] == 0].median()) < 75
    assert seen == {1, 2, 3}


@pytest.mark.parametrize("augmentation", [PLAIN, TURNED, Augmentation()])
def test_left_stays_left_of_right(tiles, augmentation):
    drawn = tiles(augmentation=augmentation, weights={"plain-mr": 0}, tile=48)
    compared = 0
    for number in range(30):
        target = drawn[number]["target"]
        left, right = (
            (target == label).nonzero()[:, 0].float() for label in (1, 2)
        )  # along x, to the patient's right
        if len(left) and len(right):
            compared += 1
            assert left.mean() < right.mean()
    assert compared > 10


@pytest.mark.parametrize(("weights", "wanted"), [({}, 0.5), ({"bodies-ct": 3.0}, 0.75)])
def test_data_sets_are_drawn_alike_or_by_their_weights(tiles, cache, weights, wanted):
    share = np.mean([cache.cases[place.case].set == 0 for place in places(tiles(weights=weights))])
    assert share == pytest.approx(wanted, abs=0.06)


@pytest.mark.parametrize("chosen", ["bodies-ct", "plain-mr"])
def test_one_set_alone_can_be_drawn(cache, chosen):
    drawing = Drawing(tile=24, augmentation=PLAIN).of_one_set(chosen, tuple(each.id for each in cache.sets))
    drawn = DrawnSlices(cache, drawing, 0)
    assert {cache.sets[int(drawn[number]["set"])].id for number in range(40)} == {chosen}


def label_at(cache, place):
    u, v = (math.floor(at) for at in place.pivot)
    labels = cache.voxels(place.case)[1]
    inside = 0 <= u < labels.shape[0] and 0 <= v < labels.shape[1]
    return int(labels[u, v, place.slice]) if inside else 0


def test_labels_are_drawn_alike_however_rare_and_so_are_scans_and_slices_that_show_one(tiles, cache):
    found = places(tiles(organ_share=1, weights={"plain-mr": 0}))
    labels = [label_at(cache, place) for place in found]
    assert {label: labels.count(label) / len(labels) for label in set(labels)} == pytest.approx(
        {1: 1 / 3, 2: 1 / 3, 3: 1 / 3}, abs=0.06
    )
    first = [place for place, label in zip(found, labels, strict=True) if label == 1]
    scans, slices = Counter(place.case for place in first), Counter(place.slice for place in first)
    assert set(scans) == {0, 1} and abs(scans[0] - scans[1]) < 0.25 * len(first)
    assert set(slices) == {2, 3, 4} and max(slices.values()) < 1.6 * min(slices.values())
    assert {place.case for place, label in zip(found, labels, strict=True) if label == 3} == {0}


def test_a_share_of_tiles_is_of_any_slice(tiles):
    few, many = (tiles(organ_share=share, weights={"plain-mr": 0}) for share in (0.75, 0.0))
    # Labels are in slices 2 to 6 of 8
    empty = [np.mean([place.slice in (0, 1, 7) for place in places(drawn)]) for drawn in (few, many)]
    assert empty == pytest.approx([0.25 * 3 / 8, 3 / 8], abs=0.055)


@pytest.mark.parametrize("tile", [8, 16, 24])
def test_a_drawn_voxel_is_in_its_tile_and_the_tile_in_the_slice(tiles, cache, tile):
    drawn = tiles(organ_share=1, tile=tile)
    starts = set()
    for place in places(drawn, 200):
        shape = cache.voxels(place.case)[0].shape
        for pivot, start, length in zip(place.pivot, place.start, shape, strict=False):
            assert 0 <= start <= length - tile
            margin = min(tile // 8, int(pivot), length - 1 - int(pivot))
            assert margin <= pivot - start < tile - margin
        starts.add(place.start)
    assert len(starts) > 20


def test_a_tile_larger_than_the_slice_holds_all_of_it(tiles, cache):
    drawn = tiles(tile=48, weights={"plain-mr": 0})
    for place in places(drawn, 100):
        assert -8 <= place.start[0] <= 0 and -18 <= place.start[1] <= 0
    sample = drawn[0]
    case = cache.cases[int(sample["scan"])]
    assert int((sample["image"][1] > case.least).sum()) <= 40 * 30


@pytest.mark.parametrize("augmentation", [PLAIN, TURNED, Augmentation()])
def test_outside_the_scan_stands_its_least_number_and_background(tiles, cache, augmentation):
    drawn = tiles(tile=96, augmentation=augmentation)
    for number in range(20):
        sample = drawn[number]
        least = cache.cases[int(sample["scan"])].least
        border = torch.cat([sample["image"][:, side].flatten() for side in (0, -1)])
        assert border.unique().tolist() == pytest.approx([least])
        assert sample["target"][0].unique().tolist() == [0]


def test_a_plain_tile_is_the_scan_s_own_voxels(tiles, cache):
    drawn = tiles()
    for number in range(20):
        rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((0, number))))
        place, sample = drawn.draw(rng), drawn[number]
        image, labels = cache.voxels(place.case)
        u, v = place.start
        assert torch.equal(sample["target"], labels[u : u + 24, v : v + 24, place.slice].long())
        wanted = image[u : u + 24, v : v + 24, place.slice].float()
        torch.testing.assert_close(sample["image"][1], wanted, atol=1e-6, rtol=0)


def test_a_tile_turned_by_nothing_is_the_plain_one(tiles):
    still = TURNED.model_copy(update={"rotation_deg": 0.0, "zoom": (1.0, 1.0)})
    plain, turned = tiles(tile=40), tiles(tile=40, augmentation=still)
    for number in range(20):
        torch.testing.assert_close(turned[number]["image"], plain[number]["image"], atol=1e-4, rtol=0)
        assert torch.equal(turned[number]["target"], plain[number]["target"])


def test_a_turned_tile_keeps_its_drawn_voxel_where_it_is(tiles, cache):
    drawn = tiles(augmentation=TURNED.model_copy(update={"rotation_deg": 60.0}), organ_share=1)
    for number in range(60):
        rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((0, number))))
        place = drawn.draw(rng)
        u, v = (int(pivot) - start for pivot, start in zip(place.pivot, place.start, strict=True))
        assert int(drawn[number]["target"][u, v]) == label_at(cache, place) > 0


def test_what_is_not_contoured_is_flagged_and_so_are_classes_that_a_set_has_not(data, both, source, tmp_path):
    sources = {"train": [source(part="train", missing="uncontoured")]}
    cache = keep_slices(data(bodies_ct=sources), both, "train", tmp_path / "run")
    drawn = DrawnSlices(cache, Drawing(tile=24, augmentation=PLAIN), 0)
    flags = {(int(s["scan"]), tuple(s["contoured"].tolist())) for s in (drawn[n] for n in range(60))}
    assert flags == {
        (0, (True, True, True, True)),
        (1, (True, True, True, False)),
        (2, (True, True, True, False)),
        (3, (True, True, True, False)),
    }


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"bodies-mr": 1}, "weights: 'bodies-mr' is no data set. Expected one of: bodies-ct, plain-mr"),
        ({"bodies-ct": 0, "plain-mr": 0}, "weights: all are 0"),
    ],
)
def test_weights_that_draw_nothing_are_refused(tiles, weights, message):
    with pytest.raises(ConfigError, match=message):
        tiles(weights=weights)


def test_a_label_that_no_case_shows_is_refused(data, both, source, tmp_path):
    sources = {"train": [source(part="train", cases=["b"])]}
    cache = keep_slices(data(bodies_ct=sources), both, "train", tmp_path / "run")
    with pytest.raises(
        ConfigError, match="bodies-ct: no case to learn from shows deep. Expected at least one"
    ):
        DrawnSlices(cache, Drawing(), 0)


@pytest.mark.parametrize("augmentation", [PLAIN, Augmentation()])
def test_a_patient_s_left_parotid_is_left_in_a_drawn_tile(data_dir, tmp_path, augmentation):
    parotids = BODIES.model_copy(
        update={"labels": tuple(Label(name=f"parotid_{side}") for side in ("left", "right"))}
    )
    source = {"layout": "folders", "root": "openkbp_headneck_ct", "cases": ["pt_2"]}
    data = {"folder": data_dir, "sets": {"bodies-ct": {"train": [source]}}}
    cache = keep_slices(SliceData.model_validate(data), (parotids,), "train", tmp_path / "run")
    drawn = DrawnSlices(cache, Drawing(tile=96, organ_share=1, augmentation=augmentation), 0)
    compared = 0
    for number in range(20):
        target = drawn[number]["target"]
        left, right = ((target == label).nonzero()[:, 0].float() for label in (1, 2))
        if len(left) and len(right):
            compared += 1
            assert left.max() < right.min()
    assert compared > 5
