import numpy as np
import pytest

from sam_moe.cases.layouts.npz import find
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge, read_case
from tests.evaluation.drawn import GRID, image, label_map, yaml_at

SPACING = (2.0, 2.0, 3.0)
IMAGES, LABELS = image().numpy().transpose(2, 1, 0), label_map().numpy().transpose(2, 1, 0)


def archive(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def read_only(tmp_path, keys=""):
    text = f"name: c\nsets: [{{layout: npz, root: ./npz{keys}}}]\nlabels: {{one: [1], two: [2]}}"
    (case,) = cases_of(load_challenge(yaml_at(tmp_path, text)))
    return read_case(case)


def test_an_archive_has_image_labels_and_spacing(tmp_path):
    archive(tmp_path / "npz" / "CT_1.npz", imgs=IMAGES, gts=LABELS, spacing=SPACING)
    scan, masks = read_only(tmp_path)
    assert np.array_equal(scan.array, image()) and scan.grid.same_as(GRID)
    assert np.array_equal(masks["two"].array, label_map() == 2)


def test_labels_in_a_folder_of_their_own_take_the_images_spacing(tmp_path):
    archive(tmp_path / "npz" / "3D_val_npz" / "CT_1.npz", imgs=IMAGES, spacing=SPACING)
    archive(tmp_path / "npz" / "3D_val_gt_interactive_seg" / "CT_1.npz", gts=LABELS)
    _, masks = read_only(tmp_path, ", images: 3D_val_npz, truths: 3D_val_gt_interactive_seg")
    assert int(masks["one"].array.sum()) == 24 and masks["one"].grid.same_as(GRID)


def test_pickled_clicks_beside_the_arrays_are_not_touched(tmp_path):
    clicks = np.array([{"fg": [[1, 2, 3]], "bg": []}], dtype=object)
    archive(tmp_path / "npz" / "CT_1.npz", imgs=IMAGES, gts=LABELS, spacing=SPACING, clicks=clicks)
    scan, _ = read_only(tmp_path)
    assert scan.grid.same_as(GRID)


def test_a_folder_without_archives_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no \.npz files"):
        find(Source(layout="npz", root="."), tmp_path)


def test_an_archive_without_its_labels_is_named(tmp_path):
    archive(tmp_path / "images" / "CT_1.npz", imgs=IMAGES)
    (tmp_path / "labels").mkdir()
    with pytest.raises(ConfigError, match="no labels for 1 cases, such as CT_1.npz"):
        find(Source(layout="npz", root="."), tmp_path)
