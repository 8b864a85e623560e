"""The module runs as the command does."""

import subprocess
import sys

import sam_moe


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "sam_moe", "--version"], capture_output=True, text=True, check=True
    )
    assert sam_moe.__version__ in done.stdout


def test_launchers_get_the_exit_code_of_a_failure():
    done = subprocess.run([sys.executable, "-m", "sam_moe", "pretrain", "nowhere.yaml"], capture_output=True)
    assert done.returncode == 1
