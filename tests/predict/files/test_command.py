"""What the predict verb does: everything wrong is found before the work, and nothing is overwritten."""

import gzip
import json
from dataclasses import replace

import pytest
import torch

from sam_moe.errors import FileError, PromptError
from sam_moe.predict.files.command import run
from sam_moe.predict.files.prompted import LoadedModel, PromptedRequest
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import read, record_beside, write_volume
from sam_moe.space.phantom import ball

MIDDLE = Prompt((Point((24, 24, 24)),))


@pytest.fixture
def scan(tmp_path, generator):
    write_volume(tmp_path / "scan.nii.gz", ball(generator)[0])
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def load(model):
    narrow = replace(model, whole_targets=False)
    return lambda: LoadedModel(narrow, "a" * 64)


def never():
    raise AssertionError("the model was loaded although the request was wrong")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_the_mask_is_written_in_the_format_of_its_suffix(scan, load, tmp_path, suffix):
    out = tmp_path / f"mask{suffix}"
    done = run(PromptedRequest(scan, out, prompt=MIDDLE), load, silent)
    mask = read(out)
    assert torch.equal(mask.array, done.answer.predictions["target"].mask)
    assert mask.grid.same_as(read(scan).grid)
    assert record_beside(out).is_file()


def test_the_stages_are_reported_in_order(scan, load, tmp_path):
    stages_seen = []
    request = PromptedRequest(scan, tmp_path / "m.nii", prompt=MIDDLE, overlay=tmp_path / "m.png")
    run(request, load, lambda stage, share: stages_seen.append(stage))
    stages = ["reading the scan", "loading the model", "segmenting", "encoding", "drawing", "writing"]
    assert list(dict.fromkeys(stages_seen)) == stages


@pytest.mark.parametrize(
    ("out", "overlay", "complaint"),
    [
        ("scan.nii.gz", None, "belongs to the scan"),
        ("../{folder}/scan.nii.gz", None, "belongs to the scan"),
        ("mask.jpg", None, "unknown kind of file"),
        ("none/mask.nii.gz", None, "no such folder"),
        ("mask.nii.gz", "none/p.png", "no such folder"),
        ("mask.nii.gz", "p.jpg", "ends in .png"),
    ],
)
def test_what_could_not_be_written_is_refused_before_the_work(scan, tmp_path, out, overlay, complaint):
    before = files(tmp_path)
    out = tmp_path / out.format(folder=tmp_path.name)
    request = PromptedRequest(scan, out, prompt=MIDDLE, overlay=overlay and tmp_path / overlay)
    with pytest.raises(FileError, match=complaint):
        run(request, never, silent)
    assert files(tmp_path) == before


def test_a_mask_is_not_put_among_the_files_of_a_dicom_series(tmp_path):
    with pytest.raises(FileError, match="belongs to the scan"):
        run(PromptedRequest(tmp_path, tmp_path / "mask.nii.gz", prompt=MIDDLE), never, silent)


def test_a_link_to_the_scan_is_the_scan(scan, tmp_path):
    (tmp_path / "link.nii.gz").symlink_to(scan)
    with pytest.raises(FileError, match="belongs to the scan"):
        run(PromptedRequest(scan, tmp_path / "link.nii.gz", prompt=MIDDLE), never, silent)


def test_a_prompt_outside_the_scan_is_refused_before_the_work(scan, tmp_path):
    with pytest.raises(PromptError, match="lies outside the volume"):
        run(PromptedRequest(scan, tmp_path / "m.nii", prompt=Prompt((Point((99, 0, 0)),))), never, silent)
    with pytest.raises(PromptError, match="negative points alone"):
        run(
            PromptedRequest(scan, tmp_path / "m.nii", prompt=Prompt((Point((2, 2, 2), False),))),
            never,
            silent,
        )


def test_a_scan_that_cannot_be_read_whole_is_refused_before_the_model_is_loaded(scan, tmp_path):
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(scan.read_bytes())[:-1000])
    with pytest.raises(FileError, match="truncated"):
        run(PromptedRequest(tmp_path / "cut.nii", tmp_path / "m.nii", prompt=MIDDLE), never, silent)


@pytest.mark.parametrize("whole_targets", [False, True])
def test_a_target_that_is_not_found_is_warned_of(scan, load, tmp_path, caplog, whole_targets):
    model = replace(load().model, whole_targets=whole_targets)
    # Logits are products with this layer's output; a layer of zeros makes them 0, which is not yet 'inside'.
    last = model.network.module.mask_decoder.output_hypernetworks_mlps[0].layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    whole = Prompt((Box((0, 0, 0), (48, 48, 48)),))  # larger than a region
    done = run(
        PromptedRequest(scan, tmp_path / "m.nii.gz", prompt=whole),
        lambda: LoadedModel(model, "a" * 64),
        silent,
    )
    assert done.answer.predictions["target"].voxels == 0
    assert "nothing was found for target" in caplog.text


def test_a_file_of_one_target_keeps_its_name_and_its_label(scan, load, tmp_path):
    case = PromptCase.of("scan.nii.gz", {"spleen": MIDDLE}, {"spleen": 9})
    write(PromptSet(name="one", cases=(case,)), tmp_path / "one.json")
    done = run(PromptedRequest(scan, tmp_path / "m.nii.gz", prompts_file=tmp_path / "one.json"), load, silent)
    assert read(tmp_path / "m.nii.gz").array.unique().tolist() == [0, 9]
    assert json.loads((tmp_path / "m.labels.json").read_text()) == {"9": "spleen"}
    assert str(done) == f"spleen  {done.answer.predictions['spleen']}"
    assert [target["label"] for target in done.as_json()["targets"]] == [9]


def test_of_several_targets_the_one_that_is_wrong_is_named(scan, tmp_path):
    case = PromptCase.of("scan.nii.gz", {"spleen": MIDDLE, "liver": Prompt((Point((99, 0, 0)),))})
    write(PromptSet(name="two", cases=(case,)), tmp_path / "two.json")
    with pytest.raises(PromptError, match=r"two\.json: target 'liver': point \(99, 0, 0\)"):
        run(PromptedRequest(scan, tmp_path / "m.nii.gz", prompts_file=tmp_path / "two.json"), never, silent)
