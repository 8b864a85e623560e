import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sam_moe.cases.source import LAYOUTS, Source, label_values, stem_of
from sam_moe.errors import ConfigError
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge

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


def test_an_unknown_layout_is_an_error_with_the_nearest_first():
    with pytest.raises(ValidationError, match=r"layout 'nnunnet' is unknown. Known, nearest first: nnunet"):
        Source(layout="nnunnet", root=".")


def test_another_packages_layout_finds_the_cases_of_a_challenge(tmp_path, monkeypatch):
    (tmp_path / "bids.py").write_text(
        "from sam_moe.cases.source import FoundCase\n"
        "def find(source, root):\n"
        "    folders = sorted(root.glob('sub-*'))\n"
        "    return [FoundCase(p.name, {'T1w': p / 'T1w.nii'}, p / 'seg.nii') for p in folders]\n"
    )
    place = tmp_path / "bids-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: bids\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[sam_moe.layouts]\nbids = bids:find\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("sub-2", "sub-1"):
        (tmp_path / "set" / name).mkdir(parents=True)
    (tmp_path / "challenge.yaml").write_text(
        "name: c\nsets: [{layout: bids, root: ./set}]\nlabels: {one: [1]}"
    )
    found = cases_of(load_challenge(tmp_path / "challenge.yaml"))
    assert [(case.id, case.reference) for case in found] == [("sub-1", "T1w"), ("sub-2", "T1w")]
    assert LAYOUTS.names[-1] == "bids"
    del sys.modules["bids"]


def test_layouts_are_known_without_torch():
    program = (
        "import sys; from sam_moe.cases.source import LAYOUTS; print(LAYOUTS.own, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "('folders', 'msd', 'nnunet', 'npz', 'sppin') False\n"
