"""Labelled scans: the right cases and names, axes in RAS order, cut and coarsened to what is trained on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError, GeometryError
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from sam_moe.training.scans.crops import CropRanges
from sam_moe.training.scans.sources import FINEST_MM, MARGIN_MM, canonical, learnt_from, read_folder

CODES = ["RAS", "LPS", "LAS", "ASR", "IPL", "SRA", "PIR"]


def grid_with(codes, shape=(4, 5, 6)):
    """A grid whose stored axes grow to the given directions, 1, 2 and 3 mm apart."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        world = next(n for n, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        affine[world, axis] = (axis + 1) * (1 if code in "RAS" else -1)
    affine[:3, 3] = (-7, 11, 13)
    return Grid(affine, shape)


def test_only_the_asked_part_is_read(folder, splits):
    assert [c["name"] for c in read_folder(folder, splits)] == ["a", "b", "m"]
    assert [c["name"] for c in read_folder(folder, splits, "validation")] == ["c"]


def test_files_of_other_parts_are_not_even_opened(folder, splits):
    for case in "cd":
        (folder / "balls" / f"{case}.nii.gz").unlink()
        (folder / "balls" / f"{case}_label.nii.gz").unlink()
    assert len(read_folder(folder, splits)) == 3


def test_a_case_is_its_label_its_image_from_the_minimum_and_its_names(folder, splits):
    case = read_folder(folder, splits)[0]
    assert case["structures"] == {1: "ball", 2: "box"}
    assert (case["label"] == 2).nonzero().amin(0).tolist() == [4, 4, 4]
    assert (case["label"] == 2).nonzero().amax(0).tolist() == [6, 7, 8]
    assert case["spacing_mm"] == pytest.approx((2.0, 2.5, 3.0))
    assert case["image"].dtype == torch.int16 and case["image"].min() == 0


def test_a_set_whose_labels_are_described_in_words_has_numbers_for_names(folder, splits):
    assert read_folder(folder, splits)[2]["structures"] == {1: "label 1", 2: "label 2"}
    assert read_folder(folder, splits)[2]["image"] is None


def test_what_a_case_calls_its_labels_goes_before_what_the_set_calls_them(folder, splits, change):
    names = {"1": "left", "2": "right"}
    change(folder / "balls" / "dataset.json", lambda d: d["cases"][1].update(label_names=names))
    a, b, _ = read_folder(folder, splits)
    assert (a["structures"], b["structures"]) == ({1: "ball", 2: "box"}, {1: "left", 2: "right"})


def test_a_structure_is_left_out_by_its_name_in_all_sets_or_with_its_set_in_one(folder, splits, change):
    change(folder / "maps" / "dataset.json", lambda d: d.update(labels={"ball": 1, "box": 2}))
    everywhere = read_folder(folder, splits, leave_out=frozenset({"ball"}))
    assert [c["structures"] for c in everywhere] == [{2: "box"}] * 3
    once = read_folder(folder, splits, leave_out=frozenset({"maps/ball"}))
    assert [c["structures"] for c in once] == [{1: "ball", 2: "box"}] * 2 + [{2: "box"}]


def test_a_case_without_anything_left_is_not_kept(folder, splits):
    kept = read_folder(folder, splits, leave_out=frozenset({"ball", "balls/box"}))
    assert [c["name"] for c in kept] == ["m"]


def test_a_name_to_leave_out_that_is_never_met_is_warned_of(folder, splits, caplog):
    read_folder(folder, splits, leave_out=frozenset({"ball", "bal", "maps/label 1"}))
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning == "left out, but not met in the train part: bal"


def test_only_what_is_to_be_learnt_is_kept_by_name_or_by_set_and_name(folder, splits):
    kept = read_folder(folder, splits, learn={"sphere": ["ball"], "brick": ["maps/label 2"]})
    assert [c["structures"] for c in kept] == [{1: "sphere"}] * 2 + [{2: "brick"}]
    both = read_folder(folder, splits, learn={"sphere": ["ball"], "brick": ["box"]})
    assert [(c["name"], c["structures"]) for c in both] == [(n, {1: "sphere", 2: "brick"}) for n in "ab"]


def test_a_union_is_one_structure_with_one_value_and_other_labels_stay_as_they_are(folder, splits, change):
    change(folder / "balls" / "dataset.json", lambda d: d.update(labels={"no": 1, "box": 2}))
    plain = {c["name"]: c["label"] for c in read_folder(folder, splits)}
    a, b, m = read_folder(folder, splits, learn={"all": ["box", "maps/label 1", "label 2"]})
    assert [c["structures"] for c in (a, b, m)] == [{2: "all"}, {2: "all"}, {1: "all"}]
    assert torch.equal(a["label"], plain["a"]) and set(a["label"].unique().tolist()) == {0, 1, 2}
    assert torch.equal(m["label"] == 1, plain["m"] > 0) and not (m["label"] == 2).any()


def test_what_is_left_out_is_not_learnt_either(folder, splits):
    kept = read_folder(folder, splits, leave_out=frozenset({"ball"}), learn={"all": ["ball", "box"]})
    assert [c["structures"] for c in kept] == [{2: "all"}] * 2


def test_a_case_is_cut_to_what_is_learnt_of_it(folder, splits, monkeypatch):
    monkeypatch.setattr("sam_moe.training.scans.sources.MARGIN_MM", 0.0)
    (case, _) = read_folder(folder, splits, learn={"brick": ["box"]})
    assert case["label"].shape == case["image"].shape == (3, 4, 5) and (case["label"] == 2).all()


def test_a_label_of_two_structures_is_refused(folder, splits):
    learn = {"sphere": ["ball"], "body": ["balls/ball", "box"]}
    with pytest.raises(ConfigError, match="the label ball of the set balls is given to sphere and to body"):
        read_folder(folder, splits, learn=learn)


def test_a_label_to_learn_that_is_never_met_is_warned_of(folder, splits, caplog):
    read_folder(folder, splits, learn={"sphere": ["ball", "bal"], "brick": ["maps/box", "box"]})
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning == "to be learnt, but not met in the train part: bal, maps/box"


def test_a_structure_of_which_nothing_is_met_is_left_to_who_asked_for_it(folder, splits, caplog):
    read_folder(folder, splits, learn={"sphere": ["ball"], "moon": ["moon", "maps/moon"]})
    assert [r for r in caplog.records if r.levelname == "WARNING"] == []


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: s["sets"].update(moons={"train": []}), r"the set moons, but there is no .*dataset\.json"),
        (lambda s: s["sets"]["balls"]["train"].append("z"), r"names the case z of the set balls, but"),
        (
            lambda s: s["sets"]["maps"].pop("train"),
            r"expected an entry 'train' in the set maps, found: validation, test",
        ),
        (lambda s: s.pop("sets"), r"expected 'sets' with an entry for each set"),
    ],
)
def test_splits_that_do_not_fit_the_data_are_refused(folder, splits, change, break_it, message):
    change(splits, break_it)
    with pytest.raises(ConfigError, match=message):
        read_folder(folder, splits)


def test_splits_that_are_no_json_or_not_there_are_refused(folder, splits):
    splits.write_text("{")
    with pytest.raises(ConfigError, match=r"splits\.json: not readable as JSON"):
        read_folder(folder, splits)
    splits.unlink()
    with pytest.raises(ConfigError, match=r"splits\.json: no such file"):
        read_folder(folder, splits)


def test_a_label_on_another_grid_than_its_image_is_refused(folder, splits):
    shifted = Grid.around((9, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))
    write_mask(folder / "balls" / "a_label.nii.gz", torch.ones(24, 20, 16, dtype=torch.uint8), shifted, None)
    with pytest.raises(GeometryError, match="not the same grid"):
        read_folder(folder, splits)


@pytest.mark.parametrize("codes", CODES)
def test_voxels_stay_where_they_are_when_axes_are_brought_to_ras(codes):
    grid = grid_with(codes)
    volume = Volume(torch.arange(120).reshape(4, 5, 6), grid)
    turned = canonical(volume)
    assert turned.grid.axcodes == "RAS"
    for index in np.ndindex(4, 5, 6):
        there = np.rint(turned.grid.index_of(grid.world_of(index))).astype(int)
        assert turned.array[tuple(there)] == volume.array[index]


@pytest.mark.parametrize("codes", CODES[1:])
def test_a_scan_stored_in_another_order_is_read_as_the_same_patient(folder, splits, codes):
    plain = read_folder(folder, splits)[0]
    affine, array = np.diag([2.0, 2.5, 3.0, 1.0]), plain["image"]
    target = grid_with(codes, (2, 2, 2))
    order = [next(n for n, pair in enumerate(("RL", "AP", "SI")) if code in pair) for code in codes]
    flips = [axis for axis, code in enumerate(codes) if code not in "RAS"]
    stored = {}
    for kind in ("image", "label"):
        stored[kind] = plain[kind].permute(order).flip(flips).contiguous()
    direction = np.sign(target.affine[:3, :3]) @ np.diag([affine[o, o] for o in order])
    matrix = np.eye(4)
    matrix[:3, :3] = direction
    grid = Grid(matrix, tuple(stored["image"].shape))
    assert grid.axcodes == codes
    write_volume(folder / "balls" / "a.nii.gz", Volume(stored["image"], grid))
    write_mask(folder / "balls" / "a_label.nii.gz", stored["label"].to(torch.uint8), grid, None)
    turned = read_folder(folder, splits)[0]
    assert torch.equal(turned["label"], plain["label"]) and torch.equal(turned["image"], array)
    assert turned["spacing_mm"] == pytest.approx(plain["spacing_mm"])


def test_an_image_of_fractions_keeps_its_shades(folder, splits):
    shades = torch.linspace(0, 1, 24)[:, None, None].expand(24, 20, 16).contiguous()
    grid = Grid.around((0, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))
    write_volume(folder / "balls" / "a.nii.gz", Volume(shades, grid))
    image = read_folder(folder, splits)[0]["image"]
    assert len(image.unique()) == 24 and image.max() >= 4094


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_intensities_beyond_sixteen_bits_are_squeezed_not_cut_off(folder, splits, dtype):
    shades = (torch.arange(24) * 5000 - 7)[:, None, None].expand(24, 20, 16).to(dtype).contiguous()
    grid = Grid.around((0, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))
    write_volume(folder / "balls" / "a.nii.gz", Volume(shades, grid))
    image = read_folder(folder, splits)[0]["image"]
    steps = image[:, 0, 0].diff()
    assert image.min() == 0 and image.max() == 32767 and steps.max() - steps.min() <= 1


def test_metal_in_a_ct_counted_from_its_padding_stays_brighter_than_bone(folder, splits):
    hounsfield = torch.full((24, 20, 16), -3024, dtype=torch.int16)
    hounsfield[4:8], hounsfield[8:16], hounsfield[16:] = -1000, 1500, 3071
    grid = Grid.around((0, 0, 0), (24, 20, 16), (2.0, 2.5, 3.0))
    write_volume(folder / "balls" / "a.nii.gz", Volume(hounsfield, grid))
    assert read_folder(folder, splits)[0]["image"].unique().tolist() == [0, 2500, 4071]


def test_the_margin_is_what_a_region_around_a_click_at_the_border_shows():
    assert 64 / 2 * CropRanges().click_spacing_mm[1] == MARGIN_MM


def test_a_scan_is_cut_to_its_structures_and_the_margin():
    label = torch.zeros(100, 10, 8, dtype=torch.int16)
    label[40:45, 3:5, 2:4] = 7
    label[0] = 9  # not learnt
    image = torch.arange(100, dtype=torch.int16)[:, None, None].expand(100, 10, 8).contiguous()
    # 144 mm are 29 voxels of 5 mm (28.8), 15 of 10 mm, and all there are of 30 mm
    cut, numbers, spacing = learnt_from(image, label, (5.0, 10.0, 30.0), {7})
    assert cut[:, 0, 0].tolist() == list(range(40 - 29, 45 + 29))
    assert torch.equal(numbers, label[11:74]) and cut.shape == numbers.shape == (63, 10, 8)
    assert spacing == (5.0, 10.0, 30.0)


def test_a_fine_scan_is_averaged_over_blocks_of_the_same_length():
    # three voxels of 1 mm are two of 1.5 mm: a whole and half of the one in the middle
    image = torch.tensor([30, 60, 90, 0, 0, 300], dtype=torch.int16)[:, None, None]
    label = torch.tensor([1, 2, 2, 0, 0, 1], dtype=torch.int16)[:, None, None]
    coarse, numbers, spacing = learnt_from(image, label, (1.0, 2.0, 3.0), {1, 2})
    assert coarse.flatten().tolist() == [40, 80, 0, 200]
    assert numbers.flatten().tolist() == [1, 2, 0, 1] and spacing == (1.5, 2.0, 3.0)


def test_the_background_wins_a_block_that_it_halves():
    label = torch.tensor([0, 3, 3, 3, 0, 0, 5, 4], dtype=torch.int16)[:, None, None]
    assert learnt_from(None, label, (0.75, 2.0, 2.0), {3})[1].flatten().tolist() == [0, 3, 0, 4]


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.floats(0.3, 4.0)] * 3), st.integers(0, 2**31))
def test_a_coarsened_scan_keeps_its_length_and_its_mean(shape, spacing, seed):
    rng = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 4000, shape, generator=rng).to(torch.int16)
    label = torch.ones(shape, dtype=torch.int16)
    coarse, numbers, wider = learnt_from(image, label, spacing, {1})
    for n, m, a, b in zip(shape, coarse.shape, spacing, wider, strict=True):
        assert m * b == pytest.approx(n * a)
        assert b == pytest.approx(a) if m == n else a < FINEST_MM
        assert m == 1 or b >= 0.999 * FINEST_MM
    assert float(coarse.float().mean()) == pytest.approx(float(image.float().mean()), abs=0.51)
    assert numbers.all()
