"""Which numbers a training computes in, and that those which must stay float32 do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_moe.training.engine.precision import mixed_precision

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_asked_for_is_what_is_used():
    assert mixed_precision("float32") == "no"
    assert mixed_precision("bfloat16") == "bf16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, which decides")
def test_a_processor_computes_in_bfloat16_by_itself_if_it_has_amx():
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        pytest.skip("no /proc/cpuinfo to hold it against")
    amx = "amx_bf16" in info.read_text().split()
    assert mixed_precision("auto") == ("bf16" if amx else "no")


@pytest.mark.gpu
def test_a_gpu_computes_in_bfloat16_by_itself_from_ampere_on():
    modern = torch.cuda.get_device_capability() >= (8, 0)
    assert mixed_precision("auto") == ("bf16" if modern else "no")


PROGRAM = """
import json, sys, torch
from pathlib import Path
from torch import nn
from sam_moe.training.engine.loop import Learner, Run, train
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule

class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Linear(4, 4)
        self.seen = set()

    def forward(self, batch, rng):
        answer = self.model(batch["x"])
        self.seen.add(str(answer.dtype))
        return ((answer.float() - 1 + batch["x"]) ** 2).mean()

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, n):
        return {"x": torch.full((4,), n / 100)}

loss = Loss()
schedule = Schedule(3, 2, 1e-2, save_every=3)
kept = train(Learner(loss, loss.model), Samples(Numbers()), schedule, Run(Path(sys.argv[1]), 1, sys.argv[2]))
kinds = {str(tensor.dtype) for tensor in [*kept.weights.values(), *loss.parameters()]}
print(json.dumps([sorted(loss.seen), sorted(kinds)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "within"), [("float32", "torch.float32"), ("bfloat16", "torch.bfloat16")]
)
def test_layers_compute_in_the_precision_and_weights_stay_float32(precision, within, tmp_path):
    # in a process of its own: Accelerate takes one precision for all of a process
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, precision], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [[within], ["torch.float32"]]
