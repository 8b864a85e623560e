"""Whatever is killed when: record, names and picture are those of the mask beside them, or are not there."""

import os
import signal
import sys
from dataclasses import replace

import pytest

from sam_moe.files import PREFIX
from sam_moe.predict.files.command import run
from sam_moe.predict.files.manifest import Manifest, read_prompts, read_record
from sam_moe.predict.files.many import finished
from sam_moe.predict.files.outputs import Outputs, holds
from sam_moe.predict.files.prompted import LoadedModel, PromptedRequest
from sam_moe.progress import silent
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import write_volume
from sam_moe.space.phantom import ball

CLICK, OTHER = Prompt((Point((24, 24, 24)),)), Prompt((Box((18, 18, 18), (30, 30, 30)),))
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")


@pytest.fixture
def load(model):
    loaded = LoadedModel(replace(model, whole_targets=False), "a" * 64)
    return lambda: loaded


@pytest.fixture
def ways(tmp_path, generator):
    """Three ways to ask for one mask: by a click, by a file of two names, by one of another name."""
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "m.nii.gz"
    write_volume(scan, ball(generator)[0])
    requests = [PromptedRequest(scan, out, prompt=CLICK)]
    for name, targets in (("two", {"liver": CLICK, "kidney": OTHER}), ("one", {"spleen": OTHER})):
        file = tmp_path / "asked" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        write(PromptSet(name=name, cases=(PromptCase.of("../scan.nii.gz", targets),)), file)
        requests.append(PromptedRequest(scan, out, prompts_file=file))
    return requests


def contents(outputs):
    """Mask and names as they lie there; None for what is missing."""
    files = (outputs.mask, outputs.labels)
    return tuple(path.read_bytes() if path.is_file() else None for path in files)


def killed(at, work):
    """Do some work in another process that is killed before its n-th change of a folder; whether it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def look(event, arguments):
            nonlocal count
            writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            if writing or event in CHANGES:
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(look)
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(1, 0), (1, 2)])
def test_a_process_killed_at_any_change_leaves_nothing_that_describes_another_mask(ways, load, before, after):
    old, new = ways[before], ways[after]
    outputs = old.outputs
    run(new, load, silent)
    wanted = contents(outputs)
    run(old, load, silent)
    kept = contents(outputs)
    assert kept[0] != wanted[0]
    saved = {path: path.read_bytes() for path in outputs.files if path.exists()}
    at, seen = 0, set()
    while True:
        at += 1
        if not killed(at, lambda: run(new, load, silent)):
            break
        found, record = contents(outputs), read_record(outputs.record)
        whose = kept if found[0] == kept[0] else wanted
        assert found[0] == whose[0], "the mask is neither the old nor the new one"
        assert found[1] in (None, whose[1]), "names of another mask"
        if isinstance(record, Manifest):
            assert holds(record, outputs) and found == whose
            asked = old if whose is kept else new
            assert asked.prompt is not None or finished(asked, load().record())
        seen.add((whose is kept, isinstance(record, Manifest)))
        run(new, load, silent)  # the next start: nothing is refused, nothing is left
        assert contents(outputs) == wanted
        assert not list(outputs.mask.parent.glob(f"{PREFIX}*"))
        for path in outputs.files:
            path.unlink(missing_ok=True)
        for path, content in saved.items():
            path.write_bytes(content)
    assert at > 8 and seen >= {(True, True), (True, False), (False, False)}


@pytest.mark.slow
def test_a_process_killed_at_any_change_leaves_no_picture_of_another_mask(ways, load, tmp_path):
    old, new = (replace(way, overlay=tmp_path / "m.png") for way in ways[1::-1])
    picture, at = tmp_path / "m.png", 0
    run(old, load, silent)
    mask, drawn = contents(old.outputs)[0], picture.read_bytes()
    while killed(at := at + 1, lambda: run(new, load, silent)):
        same = contents(old.outputs)[0] == mask
        assert not picture.is_file() or (picture.read_bytes() == drawn) == same
        if not same:
            break
    else:
        raise AssertionError("the mask was never replaced")
    assert killed(6, lambda: run(new, load, silent))  # the next start goes through; this one is killed again
    run(new, load, silent)
    assert picture.is_file() and not list(tmp_path.glob(f"{PREFIX}*"))


def test_a_run_that_was_begun_can_be_asked_again_by_its_record(ways, load):
    click, two, _ = ways
    run(two, load, silent)
    at = 1
    while killed(at, lambda: run(click, load, silent)) and isinstance(
        read_record(two.outputs.record), Manifest
    ):
        at += 1
    assert not isinstance(read_record(two.outputs.record), Manifest)
    assert read_prompts(two.outputs.record).cases[0].prompt("target") == CLICK


def test_the_record_is_of_the_mask_its_names_and_the_scan_as_they_are(ways, load):
    _, two, _ = ways
    model = load().record()
    done = run(two, load, silent)
    assert holds(done.manifest, two.outputs) and finished(two, model)
    two.outputs.labels.write_text('{"1": "heart"}')
    assert not finished(two, model)
    run(replace(two, force=True), load, silent)
    assert finished(two, model)
    two.outputs.mask.write_bytes(two.outputs.mask.read_bytes() + b"edited")
    assert not finished(two, model)


def test_without_names_an_older_masks_names_are_gone(ways, load):
    click, two, _ = ways
    run(two, load, silent)
    assert two.outputs.labels.is_file()
    run(click, load, silent)
    assert not two.outputs.labels.exists()
    assert read_record(click.outputs.record).labels_sha256 is None


def test_a_disk_that_is_full_leaves_what_was_there(ways, load, tmp_path):
    import resource

    from sam_moe.errors import FileError

    click, two, _ = ways
    run(two, load, silent)
    before = contents(two.outputs), two.outputs.record.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(FileError, match="cannot be written"):
            run(click, load, silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (contents(two.outputs), two.outputs.record.read_bytes()) == before
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_outputs_are_named_after_the_mask(tmp_path):
    outputs = Outputs(tmp_path / "a.b.nii.gz")
    assert [path.name for path in outputs.files] == ["a.b.nii.gz", "a.b.run.json", "a.b.labels.json"]
