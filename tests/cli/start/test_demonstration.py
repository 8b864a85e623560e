"""The demonstration that ships: what it says, and what it leaves behind."""

import json
import re
from pathlib import Path

import pytest
import torch

from sam_moe.cli.start.demonstration import demo_cases
from sam_moe.prompts.simulate import centre_point
from sam_moe.space.files import read, same_grid
from tests.systems.m4oe.automatics import write_automatic

ROOT = Path(__file__).resolve().parents[3]


def test_an_mr_and_a_ct_ship():
    assert [folder.name for folder in demo_cases()] == ["mr", "ct"]


@pytest.mark.parametrize("name", ["mr", "ct"])
def test_a_case_that_ships_fits_its_scan_and_label(name):
    folder, case = next((f, c) for f, c in demo_cases().items() if f.name == name)
    scan, label = read(folder / case.scan), read(folder / case.label)
    same_grid(scan.grid, label.grid)
    for target in case.targets:
        truth = label.array == target.value
        assert target.prompts["point"] == centre_point(truth.numpy(), scan.grid.spacing_mm)
        start, stop = target.box[:3], target.box[3:]
        inside = truth[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
        assert int(inside.sum()) == int(truth.sum()) > 0


def test_the_ct_is_the_first_test_case_with_brainstem_and_both_parotids():
    """Which cases were contoured stands in the data's own index; here only that it heads the test part."""
    splits = json.loads((ROOT / "benchmarks/splits.json").read_text("utf-8"))
    first = splits["sets"]["openkbp_headneck_ct"]["test"][0]
    folder, case = next((f, c) for f, c in demo_cases().items() if f.name == "ct")
    assert f"patient {first.removeprefix('pt_')}," in case.attribution
    label = read(folder / case.label).array
    assert all(int((label == value).sum()) > 0 for value in (3, 4, 5))


def test_what_ships_is_small_and_names_its_sources():
    files = [path for path in (ROOT / "demo").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 3_000_000
    assert all(case.licence and case.attribution for case in demo_cases().values())


def test_each_folder_of_the_demonstration_goes_into_a_wheel():
    declared = (ROOT / "setup.cfg").read_text("utf-8").splitlines()
    for folder in demo_cases():
        assert f"share/sam_moe/demo/{folder.name} = demo/{folder.name}/*" in declared


@pytest.mark.slow
def test_it_shows_dice_from_point_and_box_and_writes_masks_and_pictures(sam_moe, cards, tmp_path):
    write_automatic(cards, id="auto-small")
    out = tmp_path / "new" / "demo"
    ran = sam_moe("demo", "--out", out)
    assert ran.code == 0
    *parts, remark = ran.out.strip().split("\n\n")
    assert "for showing only" in remark
    pictures = {f"{name}{end}.png" for name in ("mr", "ct") for end in ("", "-labels")}
    assert {path.name for path in out.iterdir()} == {"mr", "ct", "demo.json", *pictures}
    for (folder, case), part in zip(demo_cases().items(), parts, strict=True):
        scan, label = read(folder / case.scan), read(folder / case.label)
        asked = [(target, how) for target in case.targets for how in ("point", "box")]
        lines = part.splitlines()
        assert lines[0].startswith(case.title)
        for line, (target, how) in zip(lines[1 : 1 + len(asked)], asked, strict=True):
            mask = read(out / folder.name / f"{target.name}.{how}.nii.gz")
            same_grid(scan.grid, mask.grid)
            assert mask.array.shape == scan.array.shape
            assert str(target.prompts[how]) in line and " ms" in line
            voxels, dice = re.search(r"([\d,]+) voxels, .* Dice (\d\.\d+)", line).groups()
            assert int(voxels.replace(",", "")) == int(mask.array.sum())
            truth = label.array == target.value
            both = int(torch.count_nonzero(truth & mask.array.bool()))
            assert abs(float(dice) - 2 * both / int(truth.sum() + mask.array.sum())) < 1e-3
        kinds = {f"{target.name}.{how}{end}" for target, how in asked for end in (".nii.gz", ".labels.json")}
        kinds |= {"labels.nii.gz", "labels.labels.json"}
        assert "without a prompt: like " in part
        same_grid(scan.grid, read(out / folder.name / "labels.nii.gz").grid)
        assert {path.name for path in (out / folder.name).iterdir()} == kinds
        assert (out / f"{folder.name}.png").read_bytes().startswith(b"\x89PNG")
        assert str(out / f"{folder.name}.png") in part
        assert case.attribution in part
