"""Which scans a run is about, and where their masks lie."""

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from sam_moe.errors import FileError
from sam_moe.predict.files.automatic import LoadedAutomaticModel
from sam_moe.predict.files.command import run
from sam_moe.predict.files.scans import automatic, prompted
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import write_volume
from sam_moe.space.grid import Grid
from tests.predict.automatic.bands import Bands, model_of, painted

IMAGES = ("one.nii.gz", "below/two.nrrd", "below/deep/three.mha", "four.nii")


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    for image in IMAGES:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        write_volume(folder / image, painted(Grid.around((0, 0, 0), (20, 18, 12), (4, 4, 6))))
    return folder


def series(folder, count=2):
    """Files of DICOM without pixels: enough to be known."""
    folder.mkdir(parents=True)
    for number in range(count):
        about = pydicom.Dataset()
        about.file_meta = FileMetaDataset()
        about.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        about.file_meta.MediaStorageSOPClassUID = about.SOPClassUID = CTImageStorage
        about.file_meta.MediaStorageSOPInstanceUID = about.SOPInstanceUID = f"1.2.{number + 1}"
        about.save_as(folder / f"{number}", enforce_file_format=True)


def named(requests, out):
    return {request.scan: request.out.relative_to(out).as_posix() for request in requests}


def test_prompted_scans_are_looked_for_in_their_folder_then_beside_the_prompts(scans, tmp_path):
    cases = tuple(PromptCase.of(image, {"ball": Prompt((Point((9, 9, 6)),))}) for image in IMAGES)
    write(PromptSet(name="some", cases=cases), scans / "prompts.json")
    (tmp_path / "other").mkdir()
    (scans / "four.nii").rename(tmp_path / "other" / "four.nii")
    found = prompted(tmp_path / "other", scans / "prompts.json", tmp_path / "masks")
    assert [request.scan for request in found] == [
        *(scans / image for image in IMAGES[:3]),
        tmp_path / "other/four.nii",
    ]
    assert [request.case.image for request in found] == list(IMAGES)


def test_masks_of_many_scans_need_a_folder(scans, tmp_path):
    (tmp_path / "file").write_text("")
    case = PromptCase.of("one.nii.gz", {"ball": Prompt((Point((9, 9, 6)),))})
    write(PromptSet(name="one", cases=(case,)), scans / "prompts.json")
    with pytest.raises(FileError, match="Expected a folder"):
        prompted(scans, scans / "prompts.json", tmp_path / "file")
    with pytest.raises(FileError, match="Expected a folder"):
        automatic([scans], tmp_path / "file")


def test_every_scan_of_a_folder_is_found_and_its_labels_lie_as_it_does(scans, tmp_path):
    (scans / "notes.txt").write_text("no scan")
    (scans / "._one.nii.gz").write_text("what macOS leaves")
    (scans / ".hidden").mkdir()
    (scans / ".hidden/five.nii").write_bytes((scans / "four.nii").read_bytes())
    out = tmp_path / "labels"
    assert named(automatic([scans], out), out) == {
        scans / "one.nii.gz": "one.nii.gz",
        scans / "four.nii": "four.nii.gz",
        scans / "below/two.nrrd": "below/two.nii.gz",
        scans / "below/deep/three.mha": "below/deep/three.nii.gz",
    }


def test_a_folder_with_files_of_dicom_is_one_scan(scans, tmp_path):
    series(scans / "patient")
    series(tmp_path / "alone.series")
    out = tmp_path / "labels"
    found = named(automatic([scans], out), out)
    assert found[scans / "patient"] == "patient.nii.gz" and len(found) == 5
    assert named(automatic([tmp_path / "alone.series"], out), out) == {
        tmp_path / "alone.series": "alone.series.nii.gz"
    }


def test_files_and_folders_are_taken_together(scans, tmp_path):
    out = tmp_path / "labels"
    found = automatic([scans / "four.nii", scans / "below", tmp_path / "missing.nrrd"], out, "block")
    assert named(found, out) == {
        scans / "four.nii": "four.nii.gz",
        scans / "below/two.nrrd": "two.nii.gz",
        scans / "below/deep/three.mha": "deep/three.nii.gz",
        tmp_path / "missing.nrrd": "missing.nii.gz",  # which fails when its turn comes
    }
    assert {request.as_set for request in found} == {"block"}


def test_what_lies_in_the_folder_of_labels_is_no_scan(scans):
    (scans / "labels/below").mkdir(parents=True)
    (scans / "labels/below/two.nii.gz").write_bytes((scans / "one.nii.gz").read_bytes())
    assert len(automatic([scans], scans / "labels")) == 4


def test_labels_that_we_wrote_among_scans_are_no_scans(scans):
    """Labels beside their scans: `two.nii.gz` beside `two.nrrd` is found to be ours by its record."""
    loaded = LoadedAutomaticModel(model_of(Bands()), "a" * 64)
    for _ in range(2):
        found = {request.scan: request for request in automatic([scans / "below"], scans / "below")}
        assert list(found) == [scans / "below/two.nrrd", scans / "below/deep/three.mha"]
        run(found[scans / "below/two.nrrd"], lambda: loaded, silent)
    assert (scans / "below/two.nii.gz").is_file()


def test_labels_never_take_a_scans_place_nor_each_others(scans, tmp_path):
    found = {request.scan: request.wrong for request in automatic([scans], scans)}
    assert "is the scan of a case" in found[scans / "one.nii.gz"]
    assert found[scans / "four.nii"] == ""
    (scans / "four.nrrd").write_bytes((scans / "below/two.nrrd").read_bytes())
    found = {request.scan: request.wrong for request in automatic([scans], tmp_path / "labels")}
    assert "2 cases would write" in found[scans / "four.nii"] and "2 cases" in found[scans / "four.nrrd"]
    assert found[scans / "one.nii.gz"] == ""


def test_a_folder_without_scans_is_refused_with_what_would_be_one(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"no scans in this folder\. Expected \.nii\.gz, .*DICOM"):
        automatic([tmp_path / "empty"], tmp_path / "labels")
