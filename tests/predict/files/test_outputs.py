"""What may be written, and what is ours: the rest is refused before the work, and stays as it is."""

import os
from dataclasses import replace

import pytest

from sam_moe.errors import FileError
from sam_moe.predict.files.command import run
from sam_moe.predict.files.outputs import Outputs, stamp_of
from sam_moe.predict.files.prompted import LoadedModel, PromptedRequest
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import write_volume
from sam_moe.space.phantom import ball

CLICK = Prompt((Point((24, 24, 24)),))


def never():
    raise AssertionError("the model was loaded although the request was wrong")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def load(model):
    loaded = LoadedModel(replace(model, whole_targets=False), "a" * 64)
    return lambda: loaded


@pytest.fixture
def scan(tmp_path, generator):
    write_volume(tmp_path / "scan.nii.gz", ball(generator)[0])
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize(
    "name", ["q.nii.gz", "q.run.json", "q.labels.json", "q.png"], ids=["mask", "record", "names", "picture"]
)
@pytest.mark.parametrize("content", [b"", b"{}", b'{"1": "liver"}', b"\x89PNG\r\n\x1a\n of somebody"])
def test_files_that_we_did_not_write_are_refused_and_replaced_only_by_force(
    scan, load, tmp_path, name, content
):
    (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    request = PromptedRequest(scan, tmp_path / "q.nii.gz", prompt=CLICK, overlay=tmp_path / "q.png")
    with pytest.raises(FileError, match=f"{name}: is there already.* --force"):
        run(request, never, silent)
    assert files(tmp_path) == before
    if content == b"{}" and name != "q.png":
        run(replace(request, force=True, overlay=None), load, silent)
        run(replace(request, overlay=None), load, silent)  # ours by now


def test_what_an_earlier_run_wrote_is_replaced_without_a_word(scan, load, tmp_path):
    request = PromptedRequest(scan, tmp_path / "q.nii.gz", prompt=CLICK, overlay=tmp_path / "q.png")
    for _ in range(2):
        run(request, load, silent)
    (tmp_path / "q.nii.gz").write_bytes(b"edited by hand")
    with pytest.raises(FileError, match="nothing has changed since"):
        run(request, never, silent)


def test_a_prompt_file_is_never_replaced_by_the_names_of_its_mask(scan, tmp_path):
    write(
        PromptSet(name="q", cases=(PromptCase.of("scan.nii.gz", {"liver": CLICK}),)),
        tmp_path / "q.labels.json",
    )
    before = files(tmp_path)
    for force in (False, True):
        with pytest.raises(FileError, match="which is read"):
            run(
                PromptedRequest(
                    scan, tmp_path / "q.nii.gz", prompts_file=tmp_path / "q.labels.json", force=force
                ),
                never,
                silent,
            )
    assert files(tmp_path) == before


def test_a_manifest_may_be_asked_again_in_its_own_place(scan, load, tmp_path):
    run(PromptedRequest(scan, tmp_path / "q.nii.gz", prompt=CLICK), load, silent)
    again = PromptedRequest(scan, tmp_path / "q.nii.gz", prompts_file=tmp_path / "q.run.json")
    assert run(again, load, silent).manifest.prompts.cases[0].prompt("target") == CLICK


def test_two_masks_do_not_share_a_record(scan, load, tmp_path):
    run(PromptedRequest(scan, tmp_path / "q.nii", prompt=CLICK), load, silent)
    with pytest.raises(FileError, match=r"q\.run\.json: belongs to .*q\.nii, which lies beside"):
        run(PromptedRequest(scan, tmp_path / "q.nii.gz", prompt=CLICK), never, silent)


def link(kind, scan, place):
    os.link(scan, place) if kind == "hard" else place.symlink_to(scan)


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
@pytest.mark.parametrize("force", [False, True])
def test_a_link_to_the_scan_is_the_scan_whatever_its_kind(scan, tmp_path, kind, force):
    link(kind, scan, tmp_path / "other.nii.gz")
    before = scan.read_bytes()
    with pytest.raises(FileError, match="belongs to the scan"):
        run(PromptedRequest(scan, tmp_path / "other.nii.gz", prompt=CLICK, force=force), never, silent)
    assert scan.read_bytes() == before and scan.samefile(tmp_path / "other.nii.gz")


@pytest.mark.parametrize("name", ["x" * 250 + ".nii.gz", "x" * 248 + ".nii", "ä" * 124 + ".nii.gz"])
def test_names_too_long_for_a_file_or_those_beside_it_are_refused_before_the_work(scan, tmp_path, name):
    with pytest.raises(FileError, match="no name for a file"):
        run(PromptedRequest(scan, tmp_path / name, prompt=CLICK), never, silent)


def test_a_scan_whose_name_no_file_can_have_is_refused_in_one_line(tmp_path):
    for name in ("x" * 300 + ".nii.gz", "x" * 300 + "/scan.nii.gz"):
        with pytest.raises(FileError):
            run(PromptedRequest(tmp_path / name, tmp_path / "q.nii.gz", prompt=CLICK), never, silent)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a read-only folder")
def test_a_read_only_folder_is_noticed_before_the_work(scan, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o ro tmpfs {folder} 2>/dev/null"):
        pytest.skip("no mounts here")
    try:
        with pytest.raises(FileError, match="cannot be written.*[Rr]ead-only"):
            run(PromptedRequest(scan, folder / "q.nii.gz", prompt=CLICK), never, silent)
        with pytest.raises(FileError, match="cannot be written.*[Rr]ead-only"):
            run(
                PromptedRequest(scan, tmp_path / "q.nii.gz", prompt=CLICK, overlay=folder / "q.png"),
                never,
                silent,
            )
    finally:
        os.system(f"umount {folder}")


def test_odd_names_of_scans_are_recorded_as_text(scan, load, tmp_path):
    for name in (b"\xff.nii.gz", rb"a\b.nii.gz", b"c:d.nii.gz"):
        odd = tmp_path / os.fsdecode(name)
        odd.write_bytes(scan.read_bytes())
        out = tmp_path / os.fsdecode(b"m" + name)
        run(PromptedRequest(odd, out, prompt=CLICK), load, silent)
        run(PromptedRequest(odd, out, prompt=CLICK), load, silent)  # its record is read, and known as ours
        run(PromptedRequest(odd, out, prompts_file=Outputs(out).record), load, silent)


def test_a_stamp_changes_with_whatever_is_written_or_replaced(scan, tmp_path):
    first = stamp_of(scan)
    assert first == stamp_of(scan) and len(first) == 64
    status, content = scan.stat(), scan.read_bytes()
    scan.unlink()
    scan.write_bytes(content[::-1])
    os.utime(scan, ns=(status.st_atime_ns, status.st_mtime_ns))  # as old and as long as before
    assert stamp_of(scan) != first
    assert stamp_of(tmp_path / "none") == ""
    folder = stamp_of(tmp_path)
    (tmp_path / "slice.dcm").write_bytes(b"1")
    assert stamp_of(tmp_path) != folder
