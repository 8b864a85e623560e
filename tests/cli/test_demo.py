"""The demonstration that ships: what it says, and what it leaves behind."""

import re

from sam_moe.cli.demo import demo_case
from sam_moe.space.files import read, same_grid


def test_the_case_that_ships_fits_its_scan_and_label():
    case, folder = demo_case()
    scan, label = read(folder / case.scan), read(folder / case.label)
    same_grid(scan.grid, label.grid)
    for target in case.targets:
        truth = label.array == target.value
        assert truth[tuple(int(x) for x in target.point)]
        start, stop = target.box[:3], target.box[3:]
        inside = truth[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
        assert int(inside.sum()) == int(truth.sum()) > 0


def test_the_case_that_ships_is_small_and_says_whom_to_credit():
    case, folder = demo_case()
    assert (folder / case.scan).stat().st_size + (folder / case.label).stat().st_size <= 3_000_000
    assert case.licence and case.attribution


def test_it_tells_dice_from_point_and_box_and_writes_masks_and_a_picture(sam_moe, cards, tmp_path):
    out = tmp_path / "new" / "demo"
    ran = sam_moe("demo", "--out", out)
    assert ran.code == 0
    case, folder = demo_case()
    scan = read(folder / case.scan)
    lines = ran.out.splitlines()
    wanted = {"demo.png"}
    for number, target in enumerate(case.targets):
        for line, how in zip(lines[2 * number : 2 * number + 2], ("point", "box"), strict=True):
            mask = read(out / f"{target.name}.{how}.nii.gz")
            same_grid(scan.grid, mask.grid)
            voxels, dice = re.search(r"([\d,]+) voxels, .* Dice (\d\.\d+)", line).groups()
            assert int(voxels.replace(",", "")) == int(mask.array.sum())
            truth = read(folder / case.label).array == target.value
            both = int((truth & mask.array.bool()).sum())
            assert abs(float(dice) - 2 * both / int(truth.sum() + mask.array.sum())) < 1e-3
            wanted |= {f"{target.name}.{how}.nii.gz", f"{target.name}.{how}.labels.json"}
    assert {path.name for path in out.iterdir()} == wanted
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert str(out / "demo.png") in ran.out
    assert case.attribution in ran.out
