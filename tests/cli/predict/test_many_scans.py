"""The predict verb on a folder of scans, in one process and in two."""

import json
import subprocess
import sys

import pytest

from sam_moe.cli.main import main
from sam_moe.prompts.prompt import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import write_volume
from sam_moe.space.phantom import ball

IMAGES = ("a.nii.gz", "b.nii.gz", "gone.nii.gz")


@pytest.fixture
def prompts(tmp_path, generator):
    for image in IMAGES[:2]:
        write_volume(tmp_path / image, ball(generator)[0])
    cases = tuple(PromptCase.of(image, {"ball": Prompt((Point((24, 24, 24)),))}) for image in IMAGES)
    write(PromptSet(name="some", cases=cases), tmp_path / "prompts.json")
    return tmp_path / "prompts.json"


@pytest.mark.slow
def test_each_scan_has_a_line_and_failures_are_listed_at_the_end(prompts, tmp_path, capsys):
    words = ["predict", str(tmp_path), "--prompts", str(prompts), "--out", str(tmp_path / "masks")]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()[:2]] == [
        str(tmp_path / "masks" / name) for name in ("a.nii.gz", "b.nii.gz")
    ]
    assert "3 scans: 2 done, 1 failed" in out
    assert err.splitlines()[-1].startswith(f"sam-moe: failed: {tmp_path / 'gone.nii.gz'}: ")
    assert main([*words, "--json"]) == 1
    states = [case["state"] for case in json.loads(capsys.readouterr().out)["cases"]]
    assert sorted(states) == ["failed", "finished before", "finished before"]


def test_many_scans_have_no_picture(prompts, tmp_path, capsys):
    words = ["predict", str(tmp_path), "--prompts", str(prompts), "--out", str(tmp_path / "masks")]
    assert main([*words, "--overlay", "x.png"]) == 2
    assert "--overlay draws one scan" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_do_each_scan_once_and_one_of_them_reports(prompts, tmp_path):
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["predict", str(tmp_path), "--prompts", str(prompts), "--out", str(tmp_path / "masks")]
    done = subprocess.run([*launched, "-m", "sam_moe", *words], capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert sorted(line.split(": ")[0] for line in lines if line.startswith(str(tmp_path))) == [
        str(tmp_path / "masks" / name) for name in ("a.nii.gz", "b.nii.gz")
    ]
    assert len([line for line in lines if "3 scans: 2 done, 1 failed" in line]) == 1
    assert done.stderr.count("sam-moe: failed: ") == 1
