"""The records that come back."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sam_moe.errors import FileError, GeometryError
from sam_moe.predict.answered import Answered
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.prompts import Point, Prompt
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

GRID = Grid.around((0, 0, 0), (10, 10, 10), (1, 1, 2))


def prediction(array, **more):
    details = {
        "region": GRID,
        "model_id": "tiny",
        "cached": False,
        "timings_ms": {"encode": 30.0, "decode": 8.0},
    }
    return Prediction(Volume(array, GRID), GRID, Prompt((Point((1, 1, 1)),)), **(details | more))


def cube():
    array = torch.zeros(10, 10, 10)
    array[2:7, 2:7, 2:7] = 0.9
    return array


def test_one_line_has_size_model_experts_and_time():
    assert str(prediction(cube())) == "125 voxels, 0.2 ml · tiny · 38 ms"  # 125 * 2 mm³ = 0.25 ml
    assert str(prediction(cube(), cached=True)).endswith("38 ms (embedding cached)")


def test_the_line_names_the_expert_that_answered_and_how_sure_the_gate_was():
    who = Answered({"cord": 1.0}, {"tiny": 0.19, "cord": 0.81}, "threshold 0.81 >= 0.5")
    line = str(prediction(cube(), cached=True, model_id="mixture", answered=who))
    assert line == "125 voxels, 0.2 ml · mixture · cord 0.81 · 38 ms (embedding cached)"


def test_a_plain_model_has_no_experts_to_explain():
    assert prediction(cube()).explain() == "tiny answered: a model alone, without experts"


def test_dice_is_twice_the_overlap_over_both():
    truth = torch.zeros(10, 10, 10, dtype=torch.uint8)
    truth[2:7, 2:7, 2:4] = 1
    assert prediction(cube()).dice(Volume(truth, GRID)) == 2 * 50 / (125 + 50)
    empty = prediction(torch.zeros(10, 10, 10))
    assert empty.dice(Volume(torch.zeros(10, 10, 10), GRID)) == 1.0


def test_dice_refuses_a_truth_on_another_grid():
    other = Grid.around((0, 0, 0), (10, 10, 10), (1, 1, 3))
    with pytest.raises(GeometryError, match="Expected one grid"):
        prediction(cube()).dice(Volume(torch.zeros(10, 10, 10), other))


def test_a_saved_mask_comes_back_on_the_scans_grid(tmp_path):
    path = tmp_path / "mask.nii.gz"
    prediction(cube()).save(path)
    found = read(path)
    assert found.grid.same_as(GRID) and torch.equal(found.array.bool(), cube() > 0.5)


def test_a_saved_mask_leaves_no_record_of_the_mask_that_it_replaces(tmp_path):
    path, record = tmp_path / "mask.nii.gz", tmp_path / "mask.run.json"
    joined = LabelMap.joined({"a": prediction(cube()), "b": prediction(cube())})
    for saved in (prediction(cube()), joined):
        record.write_text('{"kind": "run", "mask": "mask.nii.gz"}')
        saved.save(path)
        assert not record.exists()


def test_a_map_counts_each_of_its_names_and_names_those_that_have_no_voxel():
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[2:5, 2:4, 1:3], labels[7, 7, 7] = 3, 1
    found = LabelMap(labels, GRID, {3: "liver", 1: "cord", 2: "lens"})
    assert found.voxels == {"cord": 1, "lens": 0, "liver": 12} and found.predictions == {}
    assert found.volumes_ml["liver"] == pytest.approx(12 * GRID.voxel_ml)
    assert found.not_found == ("lens",)
    turned = LabelMap(labels.permute(2, 1, 0).contiguous().permute(2, 1, 0), GRID, found.names)
    assert turned.voxels == found.voxels


def blob(centre, radius, generator):
    """Noise below one half, and a ball of noise around it: as lumpy as answers come."""
    places = torch.stack(torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij"), dim=-1)
    near = (places - torch.tensor(centre)).norm(dim=-1) < radius
    noise = torch.rand(24, 24, 24, generator=generator)
    return torch.where(near, noise, 0.5 * noise)


def on(scan, array):
    region = Grid.around((2, -3, 1), array.shape, (1.5, 1.5, 1.5))
    return Prediction(Volume(array, region), scan, Prompt((Point((1, 1, 1)),)), region, "tiny", False)


def scan_grid(tilt):
    affine = np.diag([-0.8, 0.9, 2.0, 1])
    affine[:3, :3] = Rotation.from_euler("xyz", (tilt, 0, tilt), degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (20, -24, -18)
    return Grid(affine, (50, 48, 20))


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
@pytest.mark.parametrize(("centre", "radius"), [((12, 9, 14), 6), ((1, 22, 12), 5), ((12, 12, 12), 40)])
def test_the_mask_is_the_whole_probability_cut_at_one_half(tilt, centre, radius, generator):
    found = on(scan_grid(tilt), blob(centre, radius, generator))
    whole = found.restore().array > 0.5  # all of the scan, voxel by voxel
    assert whole.any() and torch.equal(found.mask.bool(), whole)
    assert found.voxels == int(whole.sum())


def test_the_cost_of_a_mask_is_that_of_its_target(generator):
    scan = scan_grid(0)
    small, large = (on(scan, blob((12, 12, 12), radius, generator))._seen[0].numel() for radius in (2, 8))
    assert small < large / 4


def test_nothing_found_is_an_empty_mask():
    found = on(scan_grid(0), torch.full((24, 24, 24), 0.5))
    assert found.voxels == 0 and not found.mask.any()


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
def test_where_two_targets_claim_a_voxel_the_more_probable_one_has_it(tilt, generator):
    scan = scan_grid(tilt)
    answers = {
        name: on(scan, blob(centre, 7, generator))
        for name, centre in (("a", (9, 12, 12)), ("b", (14, 12, 12)))
    }
    a, b = (answers[name].restore().array for name in "ab")
    expected = torch.where((a > 0.5) & (a >= b), 1, torch.where(b > 0.5, 2, 0))
    joined = LabelMap.joined(answers)
    assert torch.equal(joined.labels.long(), expected) and joined.names == {1: "a", 2: "b"}
    assert ((a > 0.5) & (b > 0.5)).any()


def test_a_truth_of_several_labels_is_refused_and_one_of_any_value_is_taken():
    truth = torch.zeros(10, 10, 10, dtype=torch.int16)
    truth[2:7, 2:7, 2:4] = 5
    assert prediction(cube()).dice(Volume(truth, GRID)) == prediction(cube()).dice(Volume(truth > 0, GRID))
    truth[2:7, 2:7, 4:7] = 3
    with pytest.raises(GeometryError, match=r"several labels.*Volume\(truth.array == value"):
        prediction(cube()).dice(Volume(truth, GRID))
    assert prediction(cube()).dice(Volume(truth == 3, GRID)) == pytest.approx(0.75)
    assert prediction(cube() * 0).dice(Volume(truth * 0, GRID)) == 1


def test_a_prediction_can_be_a_key_and_is_equal_to_itself_alone():
    one, other = prediction(cube()), prediction(cube())
    assert {one: "a", other: "b"}[one] == "a" and one == one and one != other
    joined = LabelMap.joined({"a": one, "b": other})
    assert len({joined, LabelMap.joined({"a": one})}) == 2


def test_a_mask_lies_in_memory_as_in_files():
    assert prediction(cube()).mask.permute(2, 1, 0).is_contiguous()


def test_a_box_that_it_keeps_to_cuts_mask_and_probability_alike():
    bounds = Grid(np.diag([4.0, 4.0, 8.0, 1.0]), (1, 1, 1))
    bounds = Grid(bounds.affine + [[0, 0, 0, x] for x in (*GRID.world_of((3, 3, 3)), 0)], (1, 1, 1))
    cut = prediction(cube(), within=bounds)
    inside = torch.zeros(10, 10, 10, dtype=torch.bool)
    inside[1:6, 1:6, 1:6] = True
    assert torch.equal(cut.mask.bool(), prediction(cube()).mask.bool() & inside)
    assert torch.equal(cut.probability.array, prediction(cube()).probability.array * inside)
    assert cut.voxels == int(cut.mask.sum()) == 64


def test_the_part_of_a_mask_is_all_of_it():
    found = prediction(cube())
    inside, where = found.part
    mask = torch.zeros(found.grid.shape, dtype=torch.bool)
    mask[where] = inside
    assert torch.equal(mask, found.mask.bool()) and mask.any()


def test_a_label_map_comes_back_from_its_file_with_its_names(tmp_path):
    labels = torch.zeros(6, 5, 4, dtype=torch.uint8)
    labels[1:3, 1:3, 1:3], labels[4, 4, 3] = 2, 255
    grid = Grid.around((1, 2, 3), (6, 5, 4), (1, 2, 3))
    LabelMap(labels, grid, {2: "liver", 3: "spleen"}).save(tmp_path / "map.nrrd")
    found = LabelMap.read(tmp_path / "map.nrrd")
    assert torch.equal(found.labels, labels) and found.grid.same_as(grid)
    assert found.names == {2: "liver", 3: "spleen", 255: "label 255"} and found.not_found == ("spleen",)
    assert found.made_by == "a label map" and set(found.refine.values()) == {"none"}


@pytest.mark.parametrize("value", [-1, 256])
def test_a_file_with_other_values_than_a_byte_holds_is_no_label_map(tmp_path, value):
    array = torch.zeros(4, 4, 4, dtype=torch.int16)
    array[1, 1, 1] = value
    write_volume(tmp_path / "map.nii.gz", Volume(array, Grid.around((0, 0, 0), (4, 4, 4), (1, 1, 1))))
    with pytest.raises(FileError, match="Expected 0 to 255"):
        LabelMap.read(tmp_path / "map.nii.gz")
