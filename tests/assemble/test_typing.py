"""What a type checker knows of the models that `sam_moe.load` gives, as a user's strict mypy would see it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Third parties are left out: they are nothing to these types, and take most of the time.
SETTINGS = """
[mypy]
python_version = 3.11
strict = true
follow_imports = silent
[mypy-torch.*,numpy.*,scipy.*,pydantic.*,typer.*,yaml.*,safetensors.*,jaxtyping.*,nibabel.*,SimpleITK.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-torchio.*,monai.*,segment_anything.*,accelerate.*,huggingface_hub.*,matplotlib.*,pydicom.*]
follow_imports = skip
ignore_missing_imports = true
"""

# Lines with a wrong use end with what mypy must find wrong there.
USER = """
from pathlib import Path
from typing import assert_type

import sam_moe


def exact(name: str, folder: Path) -> None:
    assert_type(sam_moe.load(), sam_moe.Model)
    assert_type(sam_moe.load("small"), sam_moe.Model)
    assert_type(sam_moe.load(name), sam_moe.Model)
    assert_type(sam_moe.load(folder, device="cpu", box_strategy="mask"), sam_moe.Model)
    assert_type(sam_moe.load("auto-small"), sam_moe.AutomaticModel)
    assert_type(sam_moe.load("m4oe-small", folder=folder, device="cpu"), sam_moe.AutomaticModel)
    assert_type(sam_moe.load_automatic(), sam_moe.AutomaticModel)
    assert_type(sam_moe.load_automatic(folder), sam_moe.AutomaticModel)


def usable(scan: Path) -> None:
    mask = sam_moe.load("small", dtype="bfloat16").open(scan).predict(sam_moe.Point((1, 2, 3)))
    assert_type(mask, sam_moe.Prediction)
    found = sam_moe.load("auto-small").open(scan).segment()
    assert_type(found, sam_moe.Segmentation)
    label_map: sam_moe.LabelMap = found
    label_map.names[1].upper()


def wrong(scan: Path) -> None:
    sam_moe.load("auto-small").open(scan).predict()  # "AutomaticSession" has no attribute "predict"
    sam_moe.load("small").open(scan).segment()  # "Predictor" has no attribute "segment"
    sam_moe.load(7)  # No overload variant of "load" matches argument type "int"
"""


@pytest.mark.slow
def test_models_have_exact_types_and_a_wrong_use_is_found(tmp_path):
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    (tmp_path / "user.py").write_text(USER)
    words = ("--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache", tmp_path / "user.py")
    done = subprocess.run([sys.executable, "-m", "mypy", *words], capture_output=True, text=True, cwd=ROOT)
    found = re.findall(r"user\.py:(\d+): error: (.*?)  \[", done.stdout)
    lines = USER.splitlines()
    wanted = [(str(n), line.split("  # ")[1]) for n, line in enumerate(lines, start=1) if "  # " in line]
    assert found == wanted, done.stdout + done.stderr
