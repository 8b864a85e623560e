"""A notebook's backend, a user without a name, a home that is missing: no verb ends for these."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; from sam_moe.cli import main; sys.exit(main())"
NAMELESS = "import os; os.environ.pop('HOME', None); os.setresuid(12345, 0, 0); " + PROGRAM


def ran(program, words, cwd, **env):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    env = {name: value for name, value in env.items() if name not in ("USER", "LOGNAME", "SAM_MOE_CACHE")}
    words = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)


def drawing(scan):
    return ("predict", scan, "--point", 24, 24, 24, "--out", "m.nii.gz", "--overlay", "m.png")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "Qt4Agg", "QtAgg"])
def test_a_notebooks_backend_ends_no_verb_that_draws(cards, scan, tmp_path, backend):
    done = ran(PROGRAM, drawing(scan), tmp_path, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.png").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become a nameless user")
def test_a_user_without_name_and_home_can_do_all_that_needs_no_folder_of_theirs(cards, scan, tmp_path):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)  # pytest's are closed to others
        shutil.copytree(cards, folder / "cards")
        shutil.copy(scan, folder)
        for words in (drawing("scan.nii.gz"), ("checkpoints", "list"), ("doctor",)):
            done = ran(NAMELESS, words, folder, SAM_MOE_CHECKPOINTS=str(folder / "cards"))
            assert done.returncode == 0, done.stderr
            assert "temporary cache" not in done.stderr
        assert not (folder / "~").exists()
        weights = folder / "cards/small/model.safetensors"
        done = ran(NAMELESS, ("convert", weights, "--id", "mine"), folder)
        assert done.returncode == 1
        assert "no home folder, set SAM_MOE_CACHE" in done.stderr and "internal error" not in done.stderr


@pytest.mark.slow
def test_a_home_that_is_not_there_is_not_made_and_not_needed(cards, scan, tmp_path):
    done = ran(PROGRAM, drawing(scan), tmp_path, HOME=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    done = ran(PROGRAM, ("checkpoints", "list"), tmp_path, HOME="/dev/null")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", ["~nobody-of-this-name/card.json", "~nobody-of-this-name/model"])
def test_a_home_of_somebody_who_is_not_there_is_one_line(cards, tmp_path, model):
    done = ran(PROGRAM, ("checkpoints", "show", model), tmp_path)
    assert done.returncode == 1
    assert "internal error" not in done.stderr and done.stderr.count("\n") == 1
