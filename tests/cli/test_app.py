"""The verbs, as a person types them."""

import json
import subprocess
import sys
import time
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK
import torch

import sam_moe as package
from sam_moe.assemble import DEFAULT_MODEL
from sam_moe.predict.manifest import Manifest, beside
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.registry import Registry
from sam_moe.sam3d.weights import read_state, sha256_of
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample, resample_labels

MIDDLE = ("--point", 24, 24, 24)


def manifest_of(mask):
    return Manifest.model_validate_json(beside(mask).read_text("utf-8"))


def dice(first, second):
    first, second = first.bool(), second.bool()
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_comes_in_under_half_a_second(process, words):
    spent = []
    for _ in range(7):
        start = time.perf_counter()
        assert process(*words).wait(timeout=60) == 0
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.5


def test_help_imports_nothing_heavy():
    heavy = "['torch', 'numpy', 'nibabel', 'rich']"
    program = (
        "import sys; from sam_moe.cli import main; main(['predict', '--help']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_it_tells_its_version(sam_moe):
    assert sam_moe("--version").out == f"sam-moe {package.__version__}\n"


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
    ran = sam_moe("predict", scan, "--prompts", beside(first), "--out", second)
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
    told = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert ran.err == ""
    assert told["files"] == {"mask": str(mask), "manifest": str(tmp_path / "mask.run.json")}
    assert told["targets"][0]["voxels"] == int(read(mask).array.sum())
    assert told["model"]["id"] == DEFAULT_MODEL


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


def test_a_checkpoint_that_fits_is_converted_and_then_answers(sam_moe, cards, scan, tmp_path):
    torch.save(
        {"model_state_dict": read_state(cards / DEFAULT_MODEL / "model.safetensors")}, tmp_path / "c.pth"
    )
    ran = sam_moe("convert", tmp_path / "c.pth", "--id", "mine")
    assert ran.code == 0
    assert ran.out.startswith("mine: all ")
    assert "--model mine --out MASK" in ran.err
    mask = tmp_path / "m.nii.gz"
    assert sam_moe("predict", scan, *MIDDLE, "--model", "mine", "--out", mask).code == 0
    assert manifest_of(mask).model.id == "mine"
    again = sam_moe("convert", tmp_path / "c.pth", "--id", "mine")
    assert again.code == 1
    assert "already has" in again.err
    assert sam_moe("convert", tmp_path / "c.pth", "--id", "mine", "--force").code == 0


def test_a_checkpoint_that_does_not_fit_is_reported_key_by_key(sam_moe, cards, tmp_path):
    state = read_state(cards / DEFAULT_MODEL / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    torch.save({"model_state_dict": {**state, "extra.weight": torch.zeros(3)}}, tmp_path / "c.pth")
    ran = sam_moe("convert", tmp_path / "c.pth", "--id", "mine", "--to", tmp_path / "out")
    assert ran.code == 1
    assert "  mask_decoder: missing: mask_decoder.iou_token.weight\n" in ran.err
    assert "  extra: unexpected: extra.weight\n" in ran.err
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_a_recipe_and_its_overrides_reach_the_training(sam_moe, tmp_path):
    (tmp_path / "recipe.yaml").write_text("{}\n")
    missing = sam_moe("pretrain", tmp_path / "recipe.yaml")
    assert missing.code == 1
    assert missing.err.startswith(f"sam-moe: {tmp_path}/recipe.yaml: ")
    assert "data: missing" in missing.err
    unread = sam_moe("pretrain", tmp_path / "recipe.yaml", "--set", "seed")
    assert unread.code == 1
    assert unread.err.startswith("sam-moe: --set seed: expected KEY=VALUE")


def turned(volume, order, flips):
    """The same patient stored along other axes."""
    array = volume.array.permute(order)
    affine = volume.grid.affine[:, [*order, 3]].copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Volume(array.flip(flips), Grid(affine, tuple(array.shape)))


ORIENTATIONS = [
    (order, [axis for axis in range(3) if flips[axis]])
    for order, flips in product(permutations(range(3)), product((0, 1), repeat=3))
]


@pytest.mark.slow
def test_a_scan_stored_along_any_axes_gives_the_same_mask_in_millimetres(sam_moe, cards, generator, tmp_path):
    volume = Volume(torch.rand((40, 36, 44), generator=generator) * 100, phantom_grid())
    at = [f"{x:.6f}" for x in volume.grid.world_of((18, 20, 25))]
    write_volume(tmp_path / "scan.nii.gz", volume)
    words = ["--mm", "--point", *at, "--out"]
    assert sam_moe("predict", tmp_path / "scan.nii.gz", *words, tmp_path / "mask.nii.gz").code == 0
    mask = read(tmp_path / "mask.nii.gz")
    assert 1000 < int(mask.array.sum()) < mask.array.numel() / 2
    for order, flips in ORIENTATIONS:
        write_volume(tmp_path / "turned.nrrd", turned(volume, order, flips))
        assert sam_moe("predict", tmp_path / "turned.nrrd", *words, tmp_path / "turned_mask.nrrd").code == 0
        found = resample_labels(read(tmp_path / "turned_mask.nrrd"), onto=mask.grid)
        assert dice(found.array, mask.array) > 0.99, (order, flips)


def phantom_grid():
    """Oblique, with three different spacings."""
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix()
    affine = np.eye(4)
    affine[:3, :3] = np.array(turn).reshape(3, 3) * (1.5, 1.2, 2.0)
    affine[:3, 3] = (-30, 10, 55)
    return Grid(affine, (40, 36, 44))


def resliced(volume):
    """The scan in oblique slices, twisted by some degrees about all axes, as finely sampled as before."""
    turn = np.array(SimpleITK.Euler3DTransform((0, 0, 0), 0.1, -0.15, 0.2).GetMatrix()).reshape(3, 3)
    spacing = np.array([min(volume.grid.spacing_mm)] * 3)
    corners = (volume.grid.corners_mm - volume.grid.corners_mm.mean(axis=0)) @ turn
    shape = tuple(int(n) for n in np.ceil(np.ptp(corners, axis=0) / spacing))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = volume.grid.corners_mm.mean(axis=0) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return resample(volume, onto=Grid(affine, shape), fill=float(volume.array.min()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "value"), [("chaos_abdomen_mr/{}/chaos_02", 2), ("openkbp_headneck_ct/{}/pt_2", 3)]
)
def test_a_real_scan_turned_or_resliced_and_saved_as_nrrd_gives_the_same_mask(
    sam_moe, data_dir, tmp_path, case, value
):
    shipped = Registry().folder / DEFAULT_MODEL / "card.json"
    if not shipped.is_file():
        pytest.skip(f"{shipped} is missing: no small weights ship yet")
    path, label_path = (data_dir / f"{case.format(kind)}.nii.gz" for kind in ("images", "labels"))
    if not path.is_file():
        pytest.skip(f"{path} is not among the data here")
    volume, label = read(path), read(label_path)
    inside = (label.array == value).nonzero()
    at = volume.grid.world_of(inside[(inside - inside.float().mean(0)).norm(dim=1).argmin()].numpy())
    low, high = (
        volume.grid.world_of(inside.amin(0).numpy() - 1),
        volume.grid.world_of(inside.amax(0).numpy() + 1),
    )
    corners = [*np.minimum(low, high), *np.maximum(low, high)]
    for prompt in (["--point", *at], ["--box", *corners]):
        words = ["--mm", *(f"{x:.6f}" if isinstance(x, float) else x for x in prompt), "--out"]
        assert sam_moe("predict", path, *words, tmp_path / "mask.nii.gz").code == 0
        mask = read(tmp_path / "mask.nii.gz")
        assert mask.array.any()
        for order, flips in ORIENTATIONS[5::14]:
            write_volume(tmp_path / "turned.nrrd", turned(volume, order, flips))
            assert sam_moe("predict", tmp_path / "turned.nrrd", *words, tmp_path / "other.nrrd").code == 0
            found = resample_labels(read(tmp_path / "other.nrrd"), onto=mask.grid)
            assert dice(found.array, mask.array) > 0.99, (order, flips)
        write_volume(tmp_path / "oblique.nrrd", resliced(volume))
        assert sam_moe("predict", tmp_path / "oblique.nrrd", *words, tmp_path / "other.nrrd").code == 0
        found = resample_labels(read(tmp_path / "other.nrrd"), onto=mask.grid)
        # Reslicing interpolates twice what was interpolated once.
        assert dice(found.array, mask.array) > 0.9
