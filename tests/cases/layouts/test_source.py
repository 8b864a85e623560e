from pathlib import Path

import pytest

from sam_moe.cases.layouts.source import label_values, stem_of
from sam_moe.errors import ConfigError

WHERE = Path("dataset.json")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"background": 0, "liver": 1}, {"liver": (1,)}),
        ({"0": "background", "1": "liver", "5": "liver"}, {"liver": (1, 5)}),
        ({"whole": [1, 2, 3], "core": [3]}, {"whole": (1, 2, 3), "core": (3,)}),
        ({"liver": "2"}, {"liver": (2,)}),
    ],
)
def test_tables_of_labels_are_read_either_way_round(labels, found):
    assert label_values(WHERE, labels) == found


@pytest.mark.parametrize("labels", [None, ["liver"], {"liver": None}, {"one": "two"}])
def test_what_is_no_table_of_labels_is_refused(labels):
    with pytest.raises(ConfigError, match="dataset.json: labels: expected"):
        label_values(WHERE, labels)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.nii.gz", "a"), ("a.b.NII", "a.b"), ("x.mha", "x"), ("x.nrrd", "x"), (".nii", None), ("a.txt", None)],
)
def test_a_volumes_name_goes_without_its_suffix(name, stem):
    assert stem_of(Path(name)) == stem
