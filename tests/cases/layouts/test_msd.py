import nibabel
import numpy as np
import pytest

from sam_moe.cases.layouts.msd import find
from sam_moe.cases.reading import read_image
from sam_moe.cases.source import Source
from sam_moe.errors import ConfigError
from tests.evaluation.drawn import GRID, dataset_json, image, pairs

SOURCE = Source(layout="msd", root="Task04_Hippocampus")
TABLE = {
    "name": "Hippocampus",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "training": [
        {"image": "./imagesTr/hippocampus_367.nii.gz", "label": "./labelsTr/hippocampus_367.nii.gz"},
        {"image": "./imagesTr/hippocampus_304.nii.gz", "label": "./labelsTr/hippocampus_304.nii.gz"},
    ],
    "test": ["./imagesTs/hippocampus_267.nii.gz"],
}


def task(root, **changes):
    pairs(root, ["hippocampus_367", "hippocampus_304"], "imagesTr", "labelsTr")
    return dataset_json(root, {**TABLE, **changes})


def test_training_cases_come_in_the_order_of_the_list(tmp_path):
    found = find(SOURCE, task(tmp_path))
    assert [(case.case, case.part) for case in found] == [
        ("hippocampus_367", "train"),
        ("hippocampus_304", "train"),
    ]
    assert found[0].names == {"Anterior": (1,), "Posterior": (2,)}
    assert list(found[0].images) == ["MRI"] and found[0].truth.is_file()


def test_modalities_along_the_fourth_axis_are_series(tmp_path):
    root = task(tmp_path, modality={"0": "T2", "1": "ADC"})
    path = root / "imagesTr" / "hippocampus_367.nii.gz"
    both = np.stack([image().numpy(), image().numpy() + 1000], axis=-1)
    nibabel.save(nibabel.Nifti1Image(both, GRID.affine), path)
    case = find(SOURCE, root)[0]
    series = {name: read_image(where) for name, where in case.images.items()}
    assert np.array_equal(series["T2"].array, image()) and np.array_equal(series["ADC"].array, image() + 1000)
    assert series["ADC"].grid.same_as(GRID)


def test_a_listed_file_that_is_not_there_is_named(tmp_path):
    root = task(tmp_path)
    (root / "labelsTr" / "hippocampus_304.nii.gz").unlink()
    with pytest.raises(ConfigError, match=r"training\[1\]: no file .*labelsTr/hippocampus_304.nii.gz"):
        find(SOURCE, root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": []}, "a list 'training'"),
        ({"training": ["a.nii.gz"]}, r"training\[0\]: expected 'image' and 'label'"),
        ({"modality": None}, "modality"),
        ({"labels": {"0": "background", "x": "y"}}, "labels: expected"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        find(SOURCE, task(tmp_path, **change))
