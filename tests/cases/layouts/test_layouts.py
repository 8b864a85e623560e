"""Whatever a set's own table says, it is cases, or one error of ours that names the file."""

import json
import os

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_moe.cases.reading import read_image, read_labels
from sam_moe.cases.source import LAYOUTS, Source
from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from tests.evaluation.drawn import GRID, dataset_json, image, pairs, yaml_at

FLIPPED = 120
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("²"), inner, max_size=3)
    ),
    max_leaves=8,
)
TABLES = {
    "msd": {
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "one"},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
    },
    "nnunet": {"channel_names": {"0": "T2"}, "labels": {"background": 0, "one": 1}},
    "folders": {
        "cases": [{"id": "a", "image": "images/a.nii.gz", "label": "labels/a.nii.gz"}],
        "labels": {"one": 1},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", [*TABLES])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_table_of_anything_is_cases_or_one_line(tmp_path, layout, data):
    images, labels = ("images", "labels") if layout == "folders" else ("imagesTr", "labelsTr")
    if not (tmp_path / images).is_dir():
        pairs(tmp_path, ["a"], images, labels)
    if layout == "nnunet" and (tmp_path / images / "a.nii.gz").is_file():
        (tmp_path / images / "a.nii.gz").rename(tmp_path / images / "a_0000.nii.gz")
    key = data.draw(st.sampled_from([*TABLES[layout]]))
    named = st.dictionaries(st.sampled_from(["0", "one", "ignore"]), ANYTHING, max_size=2)
    dataset_json(tmp_path, {**TABLES[layout], key: data.draw(ANYTHING | named)})
    try:
        found = LAYOUTS.load(layout)(Source(layout=layout, root="."), tmp_path)
    except SamMoeError as error:
        assert "\n" not in str(error) and str(tmp_path) in str(error)
    else:
        assert all(0 <= value < 2**31 for case in found for own in case.names.values() for value in own)


@pytest.mark.parametrize("layout", ["npz", "sppin", "nnunet", "folders"])
@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_one_line(tmp_path, layout):
    pairs(tmp_path / "set", ["a"])
    (tmp_path / "set" / "images").chmod(0)
    text = f"name: c\nsets: [{{layout: {layout}, root: ./set/images}}]\nlabels: {{one: [1]}}"
    try:
        with pytest.raises(ConfigError):
            cases_of(load_challenge(yaml_at(tmp_path, text)))
    finally:
        (tmp_path / "set" / "images").chmod(0o755)


@pytest.mark.parametrize("layout", ["npz", "sppin"])
def test_a_file_where_a_folder_should_be_is_one_line(tmp_path, layout):
    (tmp_path / "set").write_text("")
    text = f"name: c\nsets: [{{layout: {layout}, root: ./set}}]\nlabels: {{one: [1]}}"
    with pytest.raises(ConfigError):
        cases_of(load_challenge(yaml_at(tmp_path, text)))


def test_macos_companions_are_no_cases(tmp_path):
    np.savez(tmp_path / "a.npz", imgs=image().numpy(), gts=image().numpy(), spacing=(1, 1, 1))
    (tmp_path / "._a.npz").write_bytes(b"\0\5\x16\7")
    assert [case.case for case in LAYOUTS.load("npz")(Source(layout="npz", root="."), tmp_path)] == ["a"]


@pytest.mark.slow
def test_flipped_bytes_of_channels_and_labels_give_volumes_or_an_error_of_ours(tmp_path):
    rng = np.random.default_rng(3)
    both = np.stack([image().numpy(), image().numpy() + 1000], axis=-1)
    nibabel.save(nibabel.Nifti1Image(both, GRID.affine), tmp_path / "s.nii")
    nibabel.save(nibabel.Nifti1Image(both, GRID.affine), tmp_path / "s.nii.gz")
    sound = {suffix: (tmp_path / f"s{suffix}").read_bytes() for suffix in (".nii", ".nii.gz")}
    refused = 0
    for number in range(FLIPPED):
        suffix = (".nii", ".nii.gz")[number % 2]
        content = bytearray(sound[suffix])
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(min(len(content), 352))] = rng.integers(256)
        if number % 6 == 0:
            content = content[: rng.integers(len(content))]
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        for read, where in ((read_image, path.with_name(f"{path.name}#1")), (read_labels, path)):
            try:
                read(where)
            except SamMoeError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused > FLIPPED


@pytest.mark.parametrize(
    "splits", [{"test": [["a"]]}, {"test": [{"a": 1}]}, {"test": [None]}, {"test": {"a": 1}}]
)
def test_a_splits_file_of_something_else_is_one_line(tmp_path, splits):
    pairs(tmp_path / "set", ["a"])
    (tmp_path / "splits.json").write_text(json.dumps({"sets": {"set": splits}}))
    text = (
        "name: c\nsets: [{layout: folders, root: ./set, splits: splits.json, part: test}]\nlabels: {one: [1]}"
    )
    with pytest.raises(ConfigError, match="of lists of cases"):
        cases_of(load_challenge(yaml_at(tmp_path, text)))
