"""What every request has, whatever is asked."""

from dataclasses import replace

import pytest

from sam_moe.errors import FileError
from sam_moe.predict.files.automatic import AutomaticRequest
from sam_moe.predict.files.prompted import PromptedRequest
from sam_moe.predict.files.request import Request
from sam_moe.space.files import write_volume
from tests.predict.automatic.bands import painted
from tests.predict.automatic.test_model import GRIDS


def test_a_request_asks_for_something(tmp_path):
    with pytest.raises(TypeError, match="abstract"):
        Request(tmp_path / "scan.nii", tmp_path / "mask.nii")


@pytest.mark.parametrize("kind", [AutomaticRequest, PromptedRequest])
def test_its_outputs_are_checked_against_all_that_it_reads(kind, tmp_path):
    write_volume(tmp_path / "scan.nii.gz", painted(GRIDS["RAS"]))
    request = kind(tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", tmp_path / "mask.png")
    assert request.outputs.mask == tmp_path / "mask.nii.gz"
    assert request.outputs.overlay == tmp_path / "mask.png"
    assert request.check_outputs() == ()
    with pytest.raises(FileError, match="belongs to the scan"):
        replace(request, out=tmp_path / "scan.nii.gz").check_outputs()
    (tmp_path / "mask.nii.gz").write_text("of somebody else")
    with pytest.raises(FileError, match="--force"):
        request.check_outputs()
    assert len(replace(request, force=True).check_outputs()) == 1


def test_a_file_of_prompts_is_read_and_so_never_replaced(tmp_path):
    write_volume(tmp_path / "scan.nii.gz", painted(GRIDS["RAS"]))
    prompts = tmp_path / "mask.labels.json"
    prompts.write_text("{}")
    request = PromptedRequest(tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", prompts_file=prompts)
    assert request.inputs == (prompts,)
    with pytest.raises(FileError, match="which is read"):
        request.check_outputs()
    assert AutomaticRequest(tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz").inputs == ()
