"""The loop learns, resumes bit for bit, shares gradients, and stops before it breaks anything."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.regions import Cut, Regions
from sam_moe.training.engine.best import Validation
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule
from sam_moe.training.engine.seeds import prompt_rng

ROOT = Path(__file__).resolve().parents[3]
TINY = Path(__file__).with_name("tiny.py")


class Stopped(Exception):
    """Stands for whatever ends a process in mid-run."""


class Numbers(Dataset):
    """Sample n is a pair of numbers around n, and NaN from one number on."""

    def __init__(self, broken=10**9):
        self.broken = broken

    def __len__(self):
        return 10**6

    def __getitem__(self, number):
        rng = torch.Generator().manual_seed(number)
        x = torch.randn(4, generator=rng) if number < self.broken else torch.full((4,), torch.nan)
        return {"x": x, "y": x.sum(0, keepdim=True)}


class Line(nn.Module):
    """The least model that can be trained, dropout included."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.dropout = nn.Linear(4, 1), nn.Dropout(dropout)

    def forward(self, batch, rng):
        noise = 0.01 * torch.randn((), generator=rng)
        return (self.layer(self.dropout(batch["x"])) - batch["y"] + noise).square().mean()


def schedule(steps, **changes):
    plain = {"batch_size": 2, "learning_rate": 0.01, "warmup": 2, "save_every": 2, "log_every": 1}
    return Schedule(steps, **{**plain, **changes})


def until(step):
    """A report that stops the run when this step is reported."""

    def report(row):
        if row["step"] == step:
            raise Stopped

    return report


def run(folder, plan=None, *, stop=None, model=None, samples=None, validation=None, tracker=None):
    """Train a Line; `stop` ends it when that step is reported. Returns what was kept and the model."""
    model = model or Line()
    samples = samples or Samples(Numbers())
    reporting = Reporting(tracker, until(stop))
    kept = train(Learner(model, model), samples, plan or schedule(8), Run(folder, 5), validation, reporting)
    return kept, model


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def program(*arguments, status=0, launcher=(), **environment):
    """Run tiny.py in a fresh process; returns the last line it printed."""
    plain = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, TINY, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=plain | environment)
    assert done.returncode == status, done.stderr[-3000:]
    return done.stdout.strip().rpartition("\n")[2]


@pytest.mark.slow
def test_a_small_model_learns_phantoms(sizes, tmp_path):
    model = fresh_model(sizes, 0)
    plan = Schedule(60, 4, 3e-3, warmup=5, save_every=1000, log_every=10)
    train(Learner(PromptedLoss(model), model), Samples(Regions([], Cut(16), 1)), plan, Run(tmp_path, 1))
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]


def test_after_a_stop_the_next_start_ends_with_the_same_bits(tmp_path):
    whole, model = run(tmp_path / "whole")
    for stop in (1, 2, 5, 8):
        with pytest.raises(Stopped):
            run(tmp_path / str(stop), stop=stop)
        kept, again = run(tmp_path / str(stop))
        assert same(kept.weights, whole.weights) and same(again.state_dict(), model.state_dict())
        assert [row["step"] for row in rows(tmp_path / str(stop))] == list(range(1, 9))
        losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("whole", str(stop))]
        assert losses[0] == losses[1]


def test_dropout_is_resumed_too(tmp_path):
    whole, _ = run(tmp_path / "whole", model=Line(0.5))
    with pytest.raises(Stopped):
        run(tmp_path / "cut", model=Line(0.5), stop=5)
    torch.manual_seed(77)
    assert same(run(tmp_path / "cut", model=Line(0.5))[0].weights, whole.weights)
    assert not same(run(tmp_path / "none")[0].weights, whole.weights)


def test_workers_bring_the_same_samples_as_none(tmp_path):
    assert same(
        run(tmp_path / "a", samples=Samples(Numbers(), workers=2))[0].weights, run(tmp_path / "b")[0].weights
    )


@pytest.mark.slow
def test_a_fresh_process_goes_on_bit_for_bit(tmp_path):
    wanted = program("train", tmp_path / "whole", 4)
    assert program("stop", tmp_path / "cut", 4, status=-signal.SIGKILL) == ""
    assert json.loads((tmp_path / "cut" / "checkpoint" / "step.json").read_text())["step"] == 2
    assert program("train", tmp_path / "cut", 4) == wanted


@pytest.mark.slow
def test_killed_at_any_file_operation_or_moment_a_run_ends_as_if_nothing_had_been(tmp_path):
    found = json.loads(program("kill", tmp_path / "runs", 2))
    assert found["same"] and found["lost"] == 0
    assert found["killed"] > 60 and found["between"] == 1


@pytest.mark.slow
def test_two_processes_share_gradients_and_end_alike(sizes, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    program("share", tmp_path, launcher=launcher, ACCELERATE_USE_CPU="1")
    ranks = [torch.load(tmp_path / f"rank{n}.pt") for n in (0, 1)]
    assert ranks[0]["end"] == ranks[1]["end"]
    # The same samples in one process: the mean of both halves' gradients, each with its own prompts.
    stream, model = Regions([], Cut(16), 1), fresh_model(sizes, 0)
    loss = PromptedLoss(model)
    for rank in (0, 1):
        batch = torch.utils.data.default_collate([stream[2 * rank], stream[2 * rank + 1]])
        (loss(batch, prompt_rng(1, 0, rank)) / 2).backward()
    learnt = [p for p in loss.parameters() if p.requires_grad]
    alone = [p.grad for p in learnt if p.ndim > 1] + [p.grad for p in learnt if p.ndim <= 1]
    assert len(alone) == len(ranks[0]["gradients"])
    for a, b, c in zip(alone, ranks[0]["gradients"], ranks[1]["gradients"], strict=True):
        assert torch.equal(b, c)
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0)


@pytest.fixture(params=["vit", "conv"])
def either(request, sizes):
    """The tiny sizes with each of the image encoders."""
    return sizes if request.param == "vit" else replace(sizes, encoder="conv", conv_widths=(6, 12))


def test_what_is_frozen_never_changes_and_all_else_does(either, tmp_path):
    model, stream = fresh_model(either, 0), Regions([], Cut(16, targets=2), 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(Learner(PromptedLoss(model), model), Samples(stream), schedule(2), Run(tmp_path, 1))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    kept = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert frozen and kept == frozen and all(torch.isfinite(p).all() for p in model.parameters())


def test_a_model_with_either_encoder_is_resumed_bit_for_bit(either, tmp_path):
    def learn(folder, stop=None):
        model, stream = fresh_model(either, 0), Regions([], Cut(16, targets=2), 1)
        learner, reporting = Learner(PromptedLoss(model), model), Reporting(row=until(stop))
        kept = train(learner, Samples(stream), schedule(4), Run(folder, 1), None, reporting)
        return model.state_dict() | {f"average.{name}": tensor for name, tensor in kept.weights.items()}

    whole = learn(tmp_path / "whole")
    with pytest.raises(Stopped):
        learn(tmp_path / "cut", stop=3)
    assert same(learn(tmp_path / "cut"), whole)


def test_a_loss_that_is_no_number_stops_the_run_and_shows_its_batch(tmp_path):
    with pytest.raises(SamMoeError, match=r"the loss became nan at step 5.*the last checkpoint is whole"):
        run(tmp_path, samples=Samples(Numbers(broken=11)))
    dump = torch.load(tmp_path / "failed" / "step5.process0.pt")
    assert dump["step"] == 5 and dump["batch"]["x"].isnan().any()
    healed, _ = run(tmp_path)
    assert same(healed.weights, run(tmp_path / "whole")[0].weights)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path):
    class Root(Line):
        def forward(self, batch, rng):
            return (self.layer(batch["x"]) * 0).square().sum().sqrt()

    model = Root()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(SamMoeError, match="the gradient became nan at step 0"):
        run(tmp_path, schedule(4), model=model)
    assert same(model.state_dict(), before)


def scores(*values):
    """A validation with these scores, in turn; the weights it was asked about."""
    asked, left = [], list(values)

    def validate(weights):
        asked.append({name: tensor.clone() for name, tensor in weights.items()})
        return {"score": left.pop(0)}

    return validate, asked


def test_the_best_of_all_validations_is_kept_and_not_the_last(tmp_path):
    validate, asked = scores(0.3, 0.7, 0.7, 0.5)
    kept, _ = run(tmp_path, validation=Validation(validate, 2))
    assert (kept.step, kept.figures) == (4, {"score": 0.7}) and same(kept.weights, asked[1])
    logged = [(row["step"], row["score"]) for row in rows(tmp_path) if "score" in row]
    assert logged == [(2, 0.3), (4, 0.7), (6, 0.7), (8, 0.5)]


def test_the_best_from_before_a_stop_is_still_the_best(tmp_path):
    validate, asked = scores(0.9, 0.2)
    with pytest.raises(Stopped):
        run(tmp_path, stop=5, validation=Validation(validate, 2))
    kept, _ = run(tmp_path, validation=Validation(scores(0.3, 0.4)[0], 2))
    assert kept.step == 2 and same(kept.weights, asked[0])


def test_a_validation_that_was_cut_off_is_done_again(tmp_path):
    def cut(weights):
        raise Stopped

    with pytest.raises(Stopped):
        run(tmp_path, validation=Validation(cut, 4))
    kept, _ = run(tmp_path, validation=Validation(scores(0.1, 0.2)[0], 4))
    assert [r["step"] for r in rows(tmp_path) if "score" in r] == [4, 8] and kept.step == 8


def test_a_finished_run_started_again_changes_nothing(tmp_path):
    first, _ = run(tmp_path, validation=Validation(scores(0.1, 0.2)[0], 4))
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again, _ = run(tmp_path, validation=Validation(scores()[0], 4))
    assert same(first.weights, again.weights) and again.step == 8
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_a_finished_run_that_kept_nothing_is_validated_at_last(tmp_path):
    last, _ = run(tmp_path)
    kept, _ = run(tmp_path, validation=Validation(scores(0.4)[0]))
    assert kept.figures == {"score": 0.4} and same(kept.weights, last.weights)


def test_rows_hold_the_mean_loss_since_the_row_before_and_how_fast_it_went(tmp_path):
    run(tmp_path / "each")
    run(tmp_path / "some", schedule(8, log_every=3))
    each = [row["loss"] for row in rows(tmp_path / "each")]
    some = rows(tmp_path / "some")
    assert [row["step"] for row in some] == [3, 6, 8]
    means = [sum(each[:3]) / 3, sum(each[3:6]) / 3, sum(each[6:]) / 2]
    assert [row["loss"] for row in some] == pytest.approx(means)
    assert all(row["samples_per_s"] > 0 for row in some)


def test_after_a_resume_a_row_is_about_all_steps_since_the_row_before(tmp_path):
    """A kill at step 5 of rows of 4: the checkpoint is of step 4 + 2, the row of step 8 about 5 to 8."""
    plan, validation = schedule(8, log_every=4), Validation(lambda weights: {"score": 0.0}, 7)
    run(tmp_path / "whole", plan, validation=validation)
    with pytest.raises(Stopped):
        run(tmp_path / "again", plan, stop=7, validation=validation)
    run(tmp_path / "again", plan, validation=validation)
    whole, again = ([row["loss"] for row in rows(tmp_path / f) if "loss" in row] for f in ("whole", "again"))
    assert again == whole and len(whole) == 2


def test_seconds_before_a_stop_count_in_the_row_after_it(tmp_path):
    slow = Validation(lambda weights: time.sleep(0.3) or {"score": 0.0})
    run(tmp_path, schedule(3, log_every=100, save_every=3))
    step = tmp_path / "checkpoint" / "step.json"
    about = json.loads(step.read_text())
    step.write_text(json.dumps(about | {"seconds": 100.0, "worked": 100.0, "losses": [1.0, 1.0, 1.0]}))
    run(tmp_path, schedule(4, log_every=4), validation=slow)
    row = rows(tmp_path)[1]
    assert row["step"] == 4 and row["seconds"] > 100 and row["samples_per_s"] < 0.1


@pytest.mark.parametrize("name", ["comet_ml", "nonsense"])
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"tracker '{name}' is not installed, or unknown"):
        run(tmp_path / "run", tracker=name)
    assert not (tmp_path / "run").exists()


class Sentences(Dataset):
    """Samples of no fixed size, as tokens are: numbers in a list, and a name that no tensor holds."""

    def __len__(self):
        return 10**6

    def __getitem__(self, number):
        return {"tokens": [number % 7] * (1 + number % 3), "name": f"sample {number}"}


class Mean(nn.Module):
    """Learns the mean of all tokens of nested, padded batches."""

    def __init__(self):
        super().__init__()
        self.mean, self.seen = nn.Parameter(torch.zeros(())), []

    def forward(self, batch, rng):
        names, (tokens, present) = batch
        self.seen += names
        return ((self.mean - tokens) * present).square().sum() / present.sum()


def padded(samples):
    longest = max(len(sample["tokens"]) for sample in samples)
    rows = [sample["tokens"] + [0] * (longest - len(sample["tokens"])) for sample in samples]
    present = [[n < len(sample["tokens"]) for n in range(longest)] for sample in samples]
    return [sample["name"] for sample in samples], (torch.tensor(rows), torch.tensor(present))


def test_a_batch_may_be_whatever_the_loss_takes(tmp_path):
    model, samples = Mean(), Samples(Sentences(), collate=padded)
    kept, _ = run(tmp_path, schedule(8, learning_rate=0.1, average=0.0), model=model, samples=samples)
    assert model.seen == [f"sample {n}" for n in range(16)] and float(kept.weights["mean"]) > 0


def test_a_model_may_be_a_part_of_what_learns(tmp_path):
    """The result holds the model alone; the rest of the loss learns beside it."""
    loss = nn.ModuleDict({"model": nn.Linear(4, 1), "other": nn.Linear(1, 1)})

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = loss

        def forward(self, batch, rng):
            return (self.parts["other"](self.parts["model"](batch["x"])) - batch["y"]).square().mean()

    before = loss["other"].weight.clone()
    kept = train(Learner(Both(), loss["model"]), Samples(Numbers()), schedule(3), Run(tmp_path, 5))
    assert set(kept.weights) == {"weight", "bias"} and not torch.equal(loss["other"].weight, before)
