"""`sam-moe predict`, as a person types it."""

import json

import pytest
import torch

from sam_moe.files import sha256_of
from sam_moe.predict.files.manifest import Manifest
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.space.files import read, record_beside, write_volume
from sam_moe.space.volume import Volume

MIDDLE = ("--point", 24, 24, 24)


def manifest_of(mask):
    return Manifest.model_validate_json(record_beside(mask).read_text("utf-8"))


def test_predict_writes_a_mask_on_the_scans_grid_and_says_one_line(sam_moe, cards, scan, tmp_path):
    mask = tmp_path / "mask.nrrd"
    ran = sam_moe("predict", scan, *MIDDLE, "--out", mask)
    assert ran.code == 0
    found = read(mask)
    assert found.grid.same_as(read(scan).grid)
    assert found.array.dtype == torch.uint8
    voxels = int(found.array.sum())
    assert 0 < voxels < found.array.numel()
    # 1.5 mm cubed are 0.003375 ml
    assert ran.out.startswith(f"{voxels:,} voxels, {voxels * 0.003375:.1f} ml · {DEFAULT_MODEL} · ")
    assert ran.out.count("\n") == 1
    assert ran.remarks == f"mask: {mask}\nmanifest: {tmp_path}/mask.run.json\n"


def test_the_manifest_says_what_ran(sam_moe, cards, scan, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    words = ["predict", scan, "--negative", 2, 2, 2, *MIDDLE, "--box", 10, 10, 10, 40, 40, 40, "--out", mask]
    assert sam_moe(*words).code == 0
    run = manifest_of(mask)
    assert run.command == ("sam-moe", *map(str, words))
    assert run.model.id == DEFAULT_MODEL
    assert run.model.weights_sha256 == sha256_of(cards / DEFAULT_MODEL / "model.safetensors")
    assert run.model.box_strategy == "corners"
    assert run.machine.versions["torch"] == torch.__version__
    assert run.machine.device == "cpu"
    assert run.scan.grid.shape == (48, 48, 48)
    assert run.targets[0].voxels == int(read(mask).array.sum())
    assert {"encode", "decode"} <= set(run.targets[0].timings_ms)
    (case,) = run.prompts.cases
    assert case.image == "scan.nii.gz"
    assert case.prompt("target") == Prompt(
        (Point((2, 2, 2), positive=False), Point((24, 24, 24)), Box((10, 10, 10), (40, 40, 40)))
    )


def test_a_manifest_replayed_gives_the_same_mask(sam_moe, cards, scan, tmp_path):
    first, second = tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"
    sam_moe("predict", scan, *MIDDLE, "--negative", 2, 2, 2, "--out", first)
    ran = sam_moe("predict", scan, "--prompts", record_beside(first), "--out", second)
    assert ran.code == 0
    assert "warning" not in ran.err
    assert torch.equal(read(first).array, read(second).array)
    assert manifest_of(second).prompts == manifest_of(first).prompts


def test_prompts_recorded_on_another_scan_are_warned_of(sam_moe, cards, scan, tmp_path):
    sam_moe("predict", scan, *MIDDLE, "--out", tmp_path / "first.nii.gz")
    other = read(scan)
    write_volume(tmp_path / "other.nii.gz", Volume(other.array + 1, other.grid))
    words = ["--prompts", tmp_path / "first.run.json", "--out", tmp_path / "second.nii.gz"]
    ran = sam_moe("predict", tmp_path / "other.nii.gz", *words)
    assert ran.code == 0
    assert "sam-moe: warning: " in ran.err
    assert "was recorded on another scan" in ran.err


def test_several_targets_become_one_label_map_with_their_names(sam_moe, cards, scan, tmp_path):
    prompts = {"left": Prompt((Box((4, 4, 4), (20, 20, 20)),)), "right": Prompt((Point((36, 36, 36)),))}
    case = PromptCase.of("scan.nii.gz", prompts, {"left": 7, "right": 3})
    write(PromptSet(name="two", cases=(case,)), tmp_path / "two.json")
    mask = tmp_path / "map.nii.gz"
    ran = sam_moe("predict", scan, "--prompts", tmp_path / "two.json", "--out", mask)
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["left", "right"]
    assert set(read(mask).array.unique().tolist()) == {0, 3, 7}
    assert json.loads((tmp_path / "map.labels.json").read_text()) == {"3": "right", "7": "left"}
    assert [(t.name, t.label) for t in manifest_of(mask).targets] == [("left", 7), ("right", 3)]


def test_json_is_one_object_on_stdout(sam_moe, cards, scan, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    ran = sam_moe("predict", scan, *MIDDLE, "--out", mask, "--json")
    found = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert ran.err == ""
    assert found["files"] == {"mask": str(mask), "manifest": str(tmp_path / "mask.run.json")}
    assert found["targets"][0]["voxels"] == int(read(mask).array.sum())
    assert found["model"]["id"] == DEFAULT_MODEL


def test_millimetres_and_voxels_of_the_same_place_give_the_same_mask(sam_moe, cards, scan, tmp_path):
    x, y, z = read(scan).grid.world_of((20, 22, 24)).tolist()
    assert min(x, y, z) < 0  # so that a minus sign is among the words
    sam_moe("predict", scan, "--point", 20, 22, 24, "--out", tmp_path / "voxels.nii.gz")
    ran = sam_moe("predict", scan, "--mm", "--point", x, y, z, "--out", tmp_path / "mm.nii.gz")
    assert ran.code == 0
    assert torch.equal(read(tmp_path / "voxels.nii.gz").array, read(tmp_path / "mm.nii.gz").array)


def test_a_point_outside_is_answered_in_the_words_of_the_command_line(sam_moe, cards, scan, tmp_path):
    ran = sam_moe("predict", scan, "--point", 40, 52, 17, "--out", tmp_path / "m.nii.gz")
    assert ran.code == 1
    assert "point (40, 52, 17), item 0 of the prompt, lies outside the volume" in ran.err
    assert ran.err.endswith("for millimetres, add --mm.\n")


def test_an_overlay_is_a_png(sam_moe, cards, scan, tmp_path):
    words = ["--out", tmp_path / "m.nii.gz", "--overlay", tmp_path / "m.png"]
    assert sam_moe("predict", scan, *MIDDLE, *words).code == 0
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("strategy", ["center", "mask", "corners"])
def test_the_box_strategy_asked_for_is_taken(sam_moe, cards, scan, tmp_path, strategy):
    mask = tmp_path / "m.nii.gz"
    box = ("--box", 10, 10, 10, 38, 38, 38)
    assert sam_moe("predict", scan, *box, "--out", mask, "--box-strategy", strategy).code == 0
    assert manifest_of(mask).model.box_strategy == strategy


DRAWN = {
    "flat": ("--box", 20, 20, 24, 29, 29, 25),
    "no thickness": ("--box", 20, 20, 24, 29, 29, 24),
    "given as flat": ("--flat-box", 20, 20, 23, 29, 29, 26),
    "stroke": ("--stroke", 20, 24, 24, 28, 24, 24),
    "loop": ("--loop", 20, 20, 24, 28, 20, 24, 28, 28, 24, 20, 28, 24),
}


@pytest.mark.slow
@pytest.mark.parametrize("drawn", DRAWN)
def test_what_is_drawn_is_segmented_recorded_and_replayed(sam_moe, cards, scan, tmp_path, drawn):
    mask, again = tmp_path / "mask.nrrd", tmp_path / "again.nrrd"
    words = (
        *DRAWN[drawn],
        "--negative-stroke",
        2,
        2,
        24,
        3,
        2,
        24,
        "--negative-loop",
        2,
        2,
        9,
        5,
        2,
        9,
        5,
        5,
        9,
    )
    ran = sam_moe("predict", scan, *words, "--out", mask, "--overlay", tmp_path / "p.png")
    assert ran.code == 0, ran.err
    items = manifest_of(mask).prompts.cases[0].prompt("target")
    assert [item.positive for item in items] == [True, False, False]
    assert sam_moe("predict", scan, "--prompts", record_beside(mask), "--out", again).code == 0
    assert torch.equal(read(mask).array, read(again).array)


@pytest.mark.slow
def test_the_rule_asked_for_lowers_and_is_recorded(sam_moe, cards, scan, tmp_path):
    masks = {}
    for rule in ("middle", "box", None):
        masks[rule] = tmp_path / f"{rule}.nrrd"
        lower = ("--lower", f"flat_box={rule}") if rule else ()
        assert sam_moe("predict", scan, *DRAWN["flat"], *lower, "--out", masks[rule]).code == 0
    assert [manifest_of(mask).model.flat_box for mask in masks.values()] == ["middle", "box", "three"]
    click = tmp_path / "click.nrrd"
    assert sam_moe("predict", scan, *MIDDLE, "--out", click).code == 0
    assert torch.equal(read(masks["middle"]).array, read(click).array)
    wrong = sam_moe(
        "predict", scan, *DRAWN["flat"], "--lower", "flat_box=midle", "--out", tmp_path / "w.nrrd"
    )
    assert wrong.code == 2 and "'middle'" in wrong.err


@pytest.mark.slow
def test_what_is_drawn_in_millimetres_means_the_same(sam_moe, cards, scan, tmp_path):
    grid = read(scan).grid
    masks = []
    for space in ("voxel", "mm"):
        corners = ((20, 20, 24), (28, 20, 24), (28, 28, 24), (20, 28, 24))
        places = corners if space == "voxel" else [grid.world_of(corner).tolist() for corner in corners]
        masks.append(tmp_path / f"{space}.nrrd")
        words = ("--loop", *(number for place in places for number in place), *["--mm"] * (space == "mm"))
        assert sam_moe("predict", scan, *words, "--out", masks[-1]).code == 0
    assert torch.equal(read(masks[0]).array, read(masks[1]).array)
