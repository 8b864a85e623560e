"""Every sample is drawn once, by one process, at one step; no list of them is ever made."""

import pickle
from itertools import islice

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from sam_moe.training.engine.samples import Samples, Share, StepSampler, batches

CPU = torch.device("cpu")


class Itself(Dataset):
    """Sample n is n."""

    def __len__(self):
        return 10**12

    def __getitem__(self, number):
        return torch.tensor(number)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 6), st.integers(0, 6))
def test_processes_and_steps_share_no_sample_and_leave_none_out(batch_size, processes, start, more):
    dealt = [
        number
        for process in range(processes)
        for numbers in StepSampler(range(start, start + more), Share(batch_size, process, processes))
        for number in numbers
    ]
    per_step = batch_size * processes
    assert sorted(dealt) == list(range(start * per_step, (start + more) * per_step))


def test_a_long_training_costs_no_more_memory_than_a_short_one():
    short, long = (StepSampler(range(steps), Share(8, 3, 16)) for steps in (10, 10**12))
    assert len(pickle.dumps(long)) < len(pickle.dumps(short)) + 20
    assert next(iter(long)) == next(iter(short)) == [24, 25, 26, 27, 28, 29, 30, 31]
    assert len(long) == 10**12


def test_batches_come_from_the_step_on_that_a_resumed_run_asks_for():
    stream = batches(Samples(Itself()), range(5, 10**9), Share(2, 1, 2), CPU)
    assert [batch.tolist() for batch in islice(stream, 2)] == [[22, 23], [26, 27]]


def test_there_is_one_batch_a_step():
    assert len(list(batches(Samples(Itself()), range(3, 7), Share(2), CPU))) == 4
    assert list(batches(Samples(Itself()), range(7, 7), Share(2), CPU)) == []


def test_tensors_are_moved_however_deep_they_lie_and_all_else_stays():
    def nested(samples):
        return {"deep": [(torch.stack(samples), "word")], "number": 3}

    (batch,) = batches(Samples(Itself(), collate=nested), range(1), Share(2), torch.device("meta"))
    ((tensor, word),) = batch["deep"]
    assert (tensor.device.type, word, batch["number"]) == ("meta", "word", 3)
