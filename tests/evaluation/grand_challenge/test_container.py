import json

import pytest
import torch

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.grand_challenge.container import (
    Interface,
    Interfaces,
    case_of,
    interfaces_for,
    read_inputs,
    read_jobs,
    write_inputs,
    write_jobs,
    write_output,
)
from sam_moe.space.files import read
from tests.evaluation.drawn import GRID, image, label_map, write_image, write_labels

SERIES = ("T1", "T2", "b0", "b100")


@pytest.fixture
def series(tmp_path):
    return {name: write_image(tmp_path / f"{name}.mha", n) for n, name in enumerate(SERIES)}


def test_what_is_laid_out_for_an_algorithm_is_what_it_finds(series, tmp_path):
    write_inputs(series, tmp_path / "input")
    folders = {path.parent.name for path in (tmp_path / "input" / "images").rglob("*.mha")}
    assert folders == {"abdominal-mr_t1", "abdominal-mr_t2", "abdominal-mr_b0", "abdominal-mr_b100"}
    found = read_inputs(tmp_path / "input")
    assert torch.equal(read(found["b0"]).array, image(2)) and list(found) == list(SERIES)


def test_a_series_with_no_file_or_two_is_refused(series, tmp_path):
    write_inputs(series, tmp_path / "input")
    write_image(tmp_path / "input" / "images" / "abdominal-mr_t2" / "second.mha")
    with pytest.raises(FileError, match="abdominal-mr_t2: expected one image, found"):
        read_inputs(tmp_path / "input")
    with pytest.raises(FileError, match="found none"):
        read_inputs(tmp_path / "elsewhere")


def test_other_formats_become_mha(series, tmp_path):
    series["T2"] = write_image(tmp_path / "T2.nii.gz", 5)
    write_inputs(series, tmp_path / "input")
    found = read_inputs(tmp_path / "input")["T2"]
    assert found.suffix == ".mha" and torch.equal(read(found).array, image(5))
    assert read(found).grid.same_as(GRID)


def test_a_series_that_is_not_handed_over_is_named(series, tmp_path):
    del series["b100"]
    with pytest.raises(FileError, match="no file of the series b100"):
        write_inputs(series, tmp_path / "input")


def test_series_of_other_names_have_interfaces_of_these_names():
    assert interfaces_for(["b100", "T1", "T2", "b0"]) == Interfaces()
    other = interfaces_for(["CT"])
    assert other.inputs["CT"].path == "images/ct" and case_of("a_b.c.mha", other) == "a_b.c"


def test_an_algorithm_writes_its_mask_where_grand_challenge_looks(tmp_path):
    mask = (label_map() == 1).to(torch.uint8)
    path = write_output(mask, GRID, tmp_path / "output")
    assert path == tmp_path / "output" / "images" / "neuroblastoma-segmentation" / "overlay.mha"
    assert torch.equal(read(path).array, mask) and read(path).grid.same_as(GRID)


def test_the_case_is_named_by_parts_of_the_first_inputs_name():
    assert case_of("PT_41_MR_T1_2.mha") == "41_2"
    assert case_of("scan.mha") == "scan"
    whole = Interfaces(id_parts=())
    assert case_of("PT_41_MR_T1_2.mha", whole) == "PT_41_MR_T1_2"


def test_jobs_are_read_as_they_were_written(tmp_path):
    mask = write_labels(tmp_path / "mask.mha")
    write_jobs({"41_1": ("PT_41_MR_T1_1.mha", mask), "41_2": ("PT_41_MR_T1_2.mha", None)}, tmp_path / "input")
    one, two = read_jobs(tmp_path / "input")
    assert (one.case, two.case) == ("41_1", "41_2")
    assert torch.equal(read(one.mask).array, label_map())
    assert one.mask == tmp_path / "input" / one.pk / "output/images/neuroblastoma-segmentation/overlay.mha"
    assert two.mask is None and "found none" in two.reason


def jobs_json(folder, change):
    write_jobs({"41_1": ("PT_41_MR_T1_1.mha", None)}, folder)
    jobs = json.loads((folder / "predictions.json").read_text())
    (folder / "predictions.json").write_text(json.dumps(change(jobs)))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda jobs: {"jobs": jobs}, "expected a list of jobs"),
        (lambda jobs: [{}], "job 0: expected 'pk'"),
        (lambda jobs: [{**jobs[0], "inputs": []}], "the slug pediatric-abdominal-mri-t1"),
        (lambda jobs: [jobs[0], jobs[0]], "the case 41_1 has two jobs"),
        (lambda jobs: [{**jobs[0], "pk": "../../elsewhere"}], "lies outside"),
    ],
)
def test_a_malformed_list_of_jobs_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_jobs(jobs_json(tmp_path / "input", change))


def test_a_list_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "predictions.json").write_text("[")
    with pytest.raises(ConfigError, match="not readable as JSON"):
        read_jobs(tmp_path)


def test_a_job_without_the_output_has_no_mask(tmp_path):
    (job,) = read_jobs(jobs_json(tmp_path, lambda jobs: [{**jobs[0], "outputs": []}]))
    assert job.mask is None and "no output mri-segmentation-of-pediatric-neuroblastoma" in job.reason


def test_other_challenges_have_other_slugs(tmp_path):
    ct = Interfaces(
        inputs={"CT": Interface(slug="ct-image", path="images/ct")},
        output=Interface(slug="liver", path="images/liver"),
        written="liver.mha",
        id_parts=(),
    )
    write_inputs({"CT": write_image(tmp_path / "ct.mha")}, tmp_path / "input", ct)
    assert read_inputs(tmp_path / "input", ct)["CT"].parent == tmp_path / "input" / "images" / "ct"
    assert write_output(label_map(), GRID, tmp_path, ct) == tmp_path / "images" / "liver" / "liver.mha"
