"""segment-anything imports whatever state torchvision is in; each state is a fresh interpreter's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow

LOAD = "import sys; from sam_moe.hosts.sam3d.segment_anything import prepare; prepare(); "
LOAD += "import segment_anything; "
NO_TRACE = "print('left over', [n for n in sys.modules if n.startswith('torchvision')]); "
BUILD = (
    "from segment_anything.modeling import MaskDecoder, TwoWayTransformer; TwoWayTransformer(1, 8, 2, 8); "
)


def run(code: str, *folders: Path) -> str:
    """What a fresh interpreter prints, with these folders before all others on its path."""
    path = os.pathsep.join(str(f) for f in (*folders, ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fake_torchvision(folder: Path, init: str, helper: str = "raise AssertionError('reached')") -> Path:
    """A torchvision whose modules hold the given code."""
    for name, code in {
        "__init__": init,
        "ops/__init__": "",
        "ops/boxes": helper.format("batched_nms") + "\n" + helper.format("box_area"),
        "transforms/__init__": "",
        "transforms/functional": helper.format("resize") + "\n" + helper.format("to_pil_image"),
    }.items():
        file = folder / "torchvision" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return folder


def test_it_imports_where_torchvision_is_missing_and_leaves_no_stand_in(tmp_path):
    hide = tmp_path / "sitecustomize.py"
    hide.write_text("import sys; sys.modules['torchvision'] = None")
    code = LOAD + BUILD + "assert segment_anything.__name__ == 'segment_anything'; "
    code += "print([n for n in sys.modules if n.startswith('torchvision') and sys.modules[n]])"
    assert run(code, tmp_path).strip() == "[]"


def test_it_imports_where_torchvision_raises_a_runtime_error(tmp_path):
    broken = fake_torchvision(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    assert run(LOAD + BUILD + NO_TRACE, broken).strip() == "left over []"


def test_it_imports_where_torchvision_breaks_halfway_and_nothing_of_it_stays(tmp_path):
    broken = fake_torchvision(tmp_path, "import torchvision.transforms", "raise OSError('libcudart.so.13')")
    assert run(LOAD + BUILD + NO_TRACE, broken).strip() == "left over []"


def test_a_later_import_of_a_broken_torchvision_still_tells_the_truth(tmp_path):
    broken = fake_torchvision(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    code = LOAD + "\ntry:\n    import torchvision\nexcept RuntimeError as error:\n    print(error)"
    assert run(code, broken).strip() == "operator torchvision::nms does not exist"


def test_the_real_torchvision_is_used_where_it_imports(tmp_path):
    whole = fake_torchvision(tmp_path, "", "def {0}(): return 'the real {0}'")
    code = LOAD + "from segment_anything.automatic_mask_generator import batched_nms; print(batched_nms())"
    assert run(code, whole).strip() == "the real batched_nms"


def test_a_helper_that_needs_the_missing_torchvision_says_so(tmp_path):
    broken = fake_torchvision(tmp_path, "raise RuntimeError('broken')")
    code = LOAD + "from segment_anything.utils.transforms import resize\n"
    code += "try:\n    resize(0, 0)\nexcept ImportError as error:\n    print(error)"
    assert "needs torchvision, which is missing or broken here" in run(code, broken)


def test_importing_sam_moe_leaves_the_import_system_as_it_was():
    code = "import sys; before = [*sys.meta_path]; import sam_moe; "
    code += "[getattr(sam_moe, name) for name in sam_moe.__all__]; "
    code += "import sam_moe.cli.app; print(sys.meta_path == before)"
    assert run(code).strip() == "True"
